use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;

const NOW_S: u64 = 1_763_728_800;
const NOW_MS: u64 = NOW_S * 1000;
const ID_TEXT: &str = "evt_0000000000000000000001";
const BODY: &[u8] = br#"{"id":"evt_1","type":"app.installed","data":{"name":"a \"b\" c"}}"#;

fn secret(n: u8) -> HmacSecret {
    HmacSecret::new(&[n; 32]).unwrap()
}

fn key(n: u8, expires_at_ms: Option<u64>) -> SigningKey {
    SigningKey::new(&secret(n), Some(&Seed::new([n; 32])), expires_at_ms)
}

fn hmac_of(n: u8) -> [VerifyingSecret; 1] {
    [VerifyingSecret::Hmac(secret(n))]
}

fn headers(signer: &Signer, body: &[u8]) -> HeaderMap {
    let signatures = signer.sign(ID_TEXT, NOW_S, body, NOW_MS).unwrap();
    HeaderMap::from_iter([
        (ID, HeaderValue::from_static(ID_TEXT)),
        (TIMESTAMP, HeaderValue::from(NOW_S)),
        (SIGNATURE, signatures.standard),
        (brand_header("Clearway").unwrap(), signatures.brand),
    ])
}

fn by(keys: Vec<SigningKey>) -> HeaderMap {
    headers(&Signer::new(keys), BODY)
}

/// The example of the specification's own libraries.
#[test]
fn a_message_is_signed_as_the_standards_own_libraries_sign_it() {
    let secret: HmacSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
    let signer = Signer::new(vec![SigningKey::new(&secret, None, None)]);
    let signatures = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#, 0).unwrap();
    assert_eq!(signatures.standard, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn the_brands_signature_is_of_the_body_alone() {
    let one = Signer::new(vec![key(1, None)]);
    let (first, second) = (one.sign("a", 1, BODY, 0).unwrap(), one.sign("b", 2, BODY, 0).unwrap());
    assert_eq!(first.brand, second.brand);
    assert_ne!(first.standard, second.standard);
    assert!(first.brand.to_str().unwrap().starts_with("sha256=") && first.brand.len() == 71);
    assert_eq!(verify_brand(first.brand.as_bytes(), BODY, &hmac_of(1)), Ok(()));
    assert_eq!(verify_brand(first.brand.as_bytes(), BODY, &hmac_of(2)), Err(Fault::Mismatch));
}

#[test]
fn every_live_secret_signs_and_an_expired_one_does_not() {
    let rotated = by(vec![key(2, None), key(1, Some(NOW_MS + 1))]);
    for n in [1, 2] {
        assert_eq!(verify(&rotated, BODY, &hmac_of(n), NOW_S), Ok(()), "{n}");
        let public = VerifyingSecret::Ed25519(Seed::new([n; 32]).public());
        assert_eq!(verify(&rotated, BODY, &[public], NOW_S), Ok(()), "{n}");
    }
    let over = by(vec![key(2, None), key(1, Some(NOW_MS))]);
    assert_eq!(verify(&over, BODY, &hmac_of(1), NOW_S), Err(Fault::Mismatch));
    assert!(Signer::new(vec![key(1, Some(NOW_MS))]).sign("a", 1, BODY, NOW_MS).is_none());
    let brand = brand_header("clearway").unwrap();
    assert_eq!(verify_brand(rotated[brand].as_bytes(), BODY, &hmac_of(2)), Ok(()), "the newest signs for the brand");
}

#[test]
fn more_secrets_than_are_bounded_do_not_sign() {
    let keys = (0..KEYS_MAX + 3).map(|n| key(u8::try_from(n).unwrap(), None)).collect();
    let signed = by(keys);
    assert_eq!(signed[SIGNATURE].to_str().unwrap().split(' ').filter(|one| one.starts_with("v1,")).count(), KEYS_MAX);
}

#[test]
fn what_is_wrong_with_a_message_is_said() {
    let good = by(vec![key(1, None)]);
    let judge = |change: &dyn Fn(&mut HeaderMap), body: &[u8], now_s| {
        let mut headers = good.clone();
        change(&mut headers);
        verify(&headers, body, &hmac_of(1), now_s)
    };
    let set = |name: &'static str, value: &'static str| {
        move |headers: &mut HeaderMap| drop(headers.insert(name, HeaderValue::from_static(value)))
    };
    let same = |_: &mut HeaderMap| {};
    assert_eq!(judge(&same, BODY, NOW_S + TOLERANCE_S), Ok(()));
    assert_eq!(judge(&same, BODY, NOW_S - TOLERANCE_S), Ok(()));
    assert_eq!(judge(&same, BODY, NOW_S + 301), Err(Fault::TooOld { age_s: 301 }));
    assert_eq!(judge(&same, BODY, NOW_S - 301), Err(Fault::TooNew { ahead_s: 301 }));
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        assert_eq!(judge(&|h: &mut HeaderMap| drop(h.remove(name)), BODY, NOW_S), Err(Fault::Missing(name)));
        let again = |h: &mut HeaderMap| assert!(h.append(name, HeaderValue::from_static("1")));
        let twice = judge(&again, BODY, NOW_S);
        assert!(matches!(twice, Err(Fault::Malformed { name: of, .. }) if of == name), "{name}");
    }
    assert!(matches!(judge(&set("webhook-timestamp", "yesterday"), BODY, NOW_S), Err(Fault::Malformed { .. })));
    assert!(matches!(judge(&set("webhook-timestamp", "-1"), BODY, NOW_S), Err(Fault::Malformed { .. })));
    assert!(matches!(judge(&set("webhook-id", "a.b"), BODY, NOW_S), Err(Fault::Malformed { .. })));
    assert!(matches!(judge(&set("webhook-signature", "v1"), BODY, NOW_S), Err(Fault::Malformed { .. })));
    assert_eq!(judge(&set("webhook-signature", "v2,AAAA"), BODY, NOW_S), Err(Fault::NoSuchVersion { wanted: "v1" }));
    assert_eq!(judge(&set("webhook-signature", "v1,AAAA v1,?"), BODY, NOW_S), Err(Fault::HeadChanged));
    assert_eq!(judge(&set("webhook-id", "evt_other"), BODY, NOW_S), Err(Fault::HeadChanged));
    assert_eq!(judge(&same, b"{}", NOW_S), Err(Fault::Mismatch));
    assert_eq!(verify(&good, BODY, &hmac_of(9), NOW_S), Err(Fault::Mismatch));
    assert_eq!(verify(&good, BODY, &[], NOW_S), Err(Fault::NoSecret));
}

#[test]
fn a_body_that_software_has_changed_is_told_from_a_wrong_secret() {
    let signer = Signer::new(vec![key(1, None)]);
    let judge = |signed: &[u8], got: &[u8]| verify(&headers(&signer, signed), got, &hmac_of(1), NOW_S);
    let pretty = b"{\n  \"id\": \"evt_1\",\n  \"type\": \"app.installed\",\n  \"data\": { \"name\": \"a \\\"b\\\" c\" }\n}\n";
    assert_eq!(judge(BODY, pretty), Err(Fault::BodyChanged(Change::Rewritten)));
    assert_eq!(judge(BODY, &[BODY, b"\r\n"].concat()), Err(Fault::BodyChanged(Change::Padded)));
    assert_eq!(judge(b"a b\n", b"a b"), Err(Fault::BodyChanged(Change::Trimmed)));
    assert_eq!(judge(b"a\nb c", b"a\r\nb c"), Err(Fault::BodyChanged(Change::LineEnds)));
}

#[test]
fn secrets_survive_their_text_and_others_are_refused() {
    let secret = secret(7);
    assert_eq!(secret.reveal().parse::<HmacSecret>().unwrap().bytes(), secret.bytes());
    assert_eq!(secret.reveal().trim_end_matches('=').parse::<HmacSecret>().unwrap().bytes(), secret.bytes());
    let seed = Seed::new([3; 32]);
    assert_eq!(seed.reveal().parse::<Seed>().unwrap().bytes(), seed.bytes());
    assert_eq!(seed.public().to_string().parse::<PublicKey>().unwrap(), seed.public());
    let of_seed: VerifyingSecret = seed.reveal().parse().unwrap();
    assert!(matches!(of_seed, VerifyingSecret::Ed25519(key) if key == seed.public()));
    for (text, why) in [
        ("", MalformedSecret::Prefix),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", MalformedSecret::Prefix),
        ("whsec_", MalformedSecret::Length),
        ("whsec_AAAA", MalformedSecret::Length),
        ("whsec_not base64", MalformedSecret::Base64),
        ("whpk_AAAA", MalformedSecret::Length),
        ("whsk_AAAA", MalformedSecret::Length),
    ] {
        assert_eq!(text.parse::<VerifyingSecret>().unwrap_err(), why, "{text}");
    }
    let long = format!("whsec_{}", "A".repeat(1 << 20));
    assert_eq!(long.parse::<HmacSecret>().unwrap_err(), MalformedSecret::Length);
    assert!(!format!("{secret:?} {seed:?}").contains('7') && !format!("{seed:?}").contains('3'));
}

#[test]
fn a_brand_is_a_word_that_a_header_can_carry() {
    assert_eq!(brand_header("Sedifex").unwrap(), "x-sedifex-signature");
    assert_eq!(brand_header("My-Shop2").unwrap(), "x-my-shop2-signature");
    for bad in ["", "-", "a-", "-a", "a--b", "a b", "ä", "a:", &"a".repeat(BRAND_CHARS_MAX + 1)] {
        assert!(brand_header(bad).is_none(), "{bad}");
    }
}

proptest! {
    #[test]
    fn a_body_that_comes_in_pieces_is_signed_as_it_is_whole(body: Vec<u8>, cuts in proptest::collection::vec(0_usize..64, 0..8)) {
        let signer = Signer::new(vec![key(1, None), key(2, None)]);
        let mut signing = signer.begin(ID_TEXT, NOW_S, NOW_MS).unwrap();
        let mut left = &body[..];
        for cut in cuts {
            let (piece, rest) = left.split_at(cut.min(left.len()));
            signing.update(piece);
            left = rest;
        }
        signing.update(left);
        prop_assert_eq!(signing.finish(), signer.sign(ID_TEXT, NOW_S, &body, NOW_MS).unwrap());
        prop_assert_eq!(verify(&headers(&signer, &body), &body, &hmac_of(2), NOW_S), Ok(()));
    }

    #[test]
    fn nothing_that_a_stranger_sends_panics(id in ".{0,200}", timestamp in ".{0,30}", signature in ".{0,300}", body: Vec<u8>) {
        let mut headers = HeaderMap::new();
        for (name, text) in [(ID, id), (TIMESTAMP, timestamp), (SIGNATURE, signature)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
        let _ = verify(&headers, &body, &hmac_of(1), NOW_S);
    }

    #[test]
    fn another_body_is_never_taken(body: Vec<u8>, other: Vec<u8>) {
        prop_assume!(body != other);
        let signer = Signer::new(vec![key(1, None)]);
        prop_assert!(verify(&headers(&signer, &body), &other, &hmac_of(1), NOW_S).is_err());
    }
}
