//! The vectors are those of Web Authentication, Level 3, 16.1.1: ES256, without attestation.

use super::*;

const CREATED: &str = "a363666d74646e6f6e656761747453746d74a068617574684461746158a4bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b5\
    59000000008446ccb9ab1db374750b2367ff6f3a1f0020f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4a50102032620012158\
    20afefa16f97ca9b2d23eb86ccb64098d20db90856062eb249c33a9b672f26df61225820930a56b87a2fca66334b03458abf879717c12cc68ed73290af2e2664\
    796b9220";
const CREATED_FOR: &str = "7b2274797065223a22776562617574686e2e637265617465222c226368616c6c656e6765223a22414d4d507434557878475453746e63647134313759447742466\
    938767049612d7077386f4f755657345441222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223\
    a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e6\
    16c206669656c647320696e20746865206675747572652c207375636820617320746869733a20426b5165446a646354427258426941774a544c453551227d";
const CREATE_CHALLENGE: &str = "00c30fb78531c464d2b6771dab8d7b603c01162f2fa486bea70f283ae556e130";
const USED: &str = "bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b51900000000";
const USED_FOR: &str = "7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a224f63446e55685158756c5455506f334a5558543049393770767a7a5942\
    5039745a63685879617630314167222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c\
    73657d";
const SIGNATURE: &str = "3046022100f50a4e2e4409249c4a853ba361282f09841df4dd4547a13a87780218deffcd380221008480ac0f0b93538174f575bf11a1dd5d78c6e486013f9\
    37295ea13653e331e87";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).map(|c| char::from(c).to_digit(16).unwrap() as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn site() -> Site {
    Site::of("https://example.org/").unwrap()
}

fn parts(data: &[u8], client_data: &[u8], signature: &[u8]) -> AssertionParts {
    let bytes = |bytes: &[u8]| Bytes(bytes.to_vec());
    AssertionParts {
        client_data: bytes(client_data),
        authenticator_data: bytes(data),
        signature: bytes(signature),
        user_handle: None,
    }
}

#[test]
fn the_specifications_own_passkey_is_made_and_used() {
    assert_eq!(challenge(&hex(CREATED_FOR), CREATE, &site()).unwrap().as_slice(), hex(CREATE_CHALLENGE));
    let made = made(&hex(CREATED), &site()).unwrap();
    assert_eq!(made.credential_id, hex("f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4"));
    assert_eq!(made.authenticator.as_slice(), hex("8446ccb9ab1db374750b2367ff6f3a1f"));
    assert_eq!((made.flags, made.counter), (Flags { verified: false, synced: true, backed_up: true }, 0));
    let used_parts = parts(&hex(USED), &hex(USED_FOR), &hex(SIGNATURE));
    let used = used(&used_parts, &made.public_key, &site()).unwrap();
    assert_eq!((used.flags, used.counter), (Flags { verified: false, synced: true, backed_up: true }, 0));
}

#[test]
fn whatever_is_changed_of_it_is_refused() {
    let key = made(&hex(CREATED), &site()).unwrap().public_key;
    let (data, client_data, signature) = (hex(USED), hex(USED_FOR), hex(SIGNATURE));
    for at in 0..data.len() {
        let mut other = data.clone();
        other[at] ^= 1;
        assert!(used(&parts(&other, &client_data, &signature), &key, &site()).is_err(), "{at}");
    }
    for at in 0..client_data.len() {
        let mut other = client_data.clone();
        other[at] ^= 1;
        assert_eq!(used(&parts(&data, &other, &signature), &key, &site()), Err(Fault::Signature), "{at}");
    }
    for signature in [Vec::new(), signature[..70].to_vec(), [signature.as_slice(), &[0]].concat()] {
        assert_eq!(used(&parts(&data, &client_data, &signature), &key, &site()), Err(Fault::Signature));
    }
}

#[test]
fn what_is_cut_off_or_goes_on_is_no_passkey() {
    let whole = hex(CREATED);
    for length in 0..whole.len() {
        assert!(made(&whole[..length], &site()).is_err(), "{length}");
    }
    assert!(made(&[whole.as_slice(), &[0]].concat(), &site()).is_err());
    // Far nested, and of a length that nobody has sent.
    for hostile in [vec![0x81; 4_000], vec![0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], vec![0xbf; 4_000]] {
        assert!(made(&hostile, &site()).is_err());
    }
    let elsewhere = Site::of("https://example.com").unwrap();
    assert_eq!(made(&whole, &elsewhere), Err(Fault::Site));
}

#[test]
fn an_answer_is_for_one_site_and_one_ceremony() {
    let said = |json: &str| challenge(json.as_bytes(), GET, &site());
    let c = "A".repeat(43);
    let good =
        format!(r#"{{"type":"webauthn.get","challenge":"{c}","origin":"https://example.org","crossOrigin":false,"new":1}}"#);
    assert_eq!(said(&good), Ok([0; 32]));
    for (from, to, fault) in [
        ("webauthn.get", "webauthn.create", Fault::Ceremony),
        ("https://example.org", "http://example.org", Fault::Origin),
        ("https://example.org", "https://example.org:8443", Fault::Origin),
        ("https://example.org", "https://www.example.org", Fault::Origin),
        ("https://example.org", "https://example.org.evil.example", Fault::Origin),
        ("false", "true", Fault::CrossOrigin),
        ("\"new\":1", "\"topOrigin\":\"https://evil.example\"", Fault::CrossOrigin),
        ("AAAA\"", "AAA\"", Fault::Malformed("challenge")),
        ("AAAA\"", "AAAA=\"", Fault::Malformed("challenge")),
        ("\"new\":1", "\"origin\":\"https://example.org\"", Fault::Malformed("clientDataJSON")),
    ] {
        assert_eq!(said(&good.replacen(from, to, 1)), Err(fault), "{from} {to}");
    }
}

#[test]
fn passkeys_are_for_names_over_tls_and_for_this_machine() {
    let origin = |url: &str| Site::of(url).map(|site| (site.id, site.origin));
    let pair = |id: &str, origin: &str| Some((id.to_owned(), origin.to_owned()));
    assert_eq!(origin("https://API.example.org:8443/x"), pair("api.example.org", "https://api.example.org:8443"));
    assert_eq!(origin("http://localhost:8080"), pair("localhost", "http://localhost:8080"));
    for none in ["http://example.org", "http://127.0.0.1:8080", "https://192.0.2.1", "https://[::1]", "x"] {
        assert_eq!(origin(none), None, "{none}");
    }
}
