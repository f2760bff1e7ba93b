//! Webhooks as control tells them, and as they are posted to.

use super::{
    super::{
        Snapshot,
        tests::{delta, full, id},
    },
    *,
};

/// In every secret of [`webhook`].
pub(in crate::snapshot) const SECRET: &str = "nobody-may-read-this";

pub(in crate::snapshot) fn webhook(n: u64) -> v1::Webhook {
    v1::Webhook {
        id: id(n),
        account_id: id(7),
        url: format!("https://receiver.test/hooks?n={n}"),
        active: true,
        brand: "Clearway".into(),
        headers: vec![header("X-Second", "b"), header("x-first", "a")],
        connect_timeout_ms: 250,
        client_certificate: b"a chain".to_vec(),
        oauth: Some(v1::OauthClient {
            token_url: "https://issuer.test/token".into(),
            client_id: "client".into(),
            scope: Some("post".into()),
            secret_in_body: true,
        }),
        secrets: Some(v1::WebhookSecrets {
            signing: vec![signing(None), signing(Some(1_000))],
            authorization: format!("Bearer {SECRET}"),
            client_key: SECRET.into(),
            oauth_client_secret: SECRET.into(),
        }),
        ..Default::default()
    }
}

fn header(name: &str, value: &str) -> v1::Header {
    v1::Header { name: name.into(), value: value.into() }
}

fn signing(expires_at: Option<u64>) -> v1::WebhookSecret {
    let hmac_key = format!("{SECRET}{SECRET}").into_bytes();
    v1::WebhookSecret { hmac_key, ed25519_seed: vec![5; SEED_BYTES], expires_at }
}

pub(in crate::snapshot) fn webhooks(webhooks: Vec<v1::Webhook>) -> v1::Changes {
    v1::Changes { webhooks, ..Default::default() }
}

pub(in crate::snapshot) fn held(snapshot: &Snapshot, n: u64) -> Option<Arc<Webhook>> {
    snapshot.webhook(&WebhookId::from_slice(&id(n)).unwrap())
}

#[test]
fn a_webhook_is_found_by_its_id_with_everything_read() {
    let snapshot = Snapshot::new();
    snapshot.apply(&delta(1, webhooks(vec![webhook(1)])));
    let found = held(&snapshot, 1).unwrap();
    assert_eq!(found.account, AccountId::from_slice(&id(7)).unwrap());
    assert_eq!((found.url.host(), found.url.query(), found.active), (Some("receiver.test"), Some("n=1"), true));
    assert_eq!(found.brand_header.as_ref().unwrap(), "x-clearway-signature");
    let headers: Vec<_> = found.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(headers, [("x-second", b"b".as_slice()), ("x-first", b"a")]);
    assert_eq!(found.oauth.as_ref().unwrap().token_url.host(), Some("issuer.test"));
    let settings = EgressSettings::default();
    let timeouts = found.timeouts(&settings);
    assert_eq!((timeouts.connect, timeouts.total), (Duration::from_millis(250), settings.total_timeout));
    assert!(held(&snapshot, 2).is_none());
}

#[test]
fn a_secret_signs_until_it_expires_and_is_never_printed() {
    let snapshot = Snapshot::new();
    snapshot.apply(&delta(1, webhooks(vec![webhook(1)])));
    let found = held(&snapshot, 1).unwrap();
    let secrets = found.secrets.as_ref().unwrap();
    assert_eq!((secrets.live(999).count(), secrets.live(1_000).count()), (2, 1));
    let authorization = secrets.authorization().unwrap();
    assert!(authorization.is_sensitive());
    let printed = format!("{snapshot:?}{found:?}{authorization:?}{:?}", webhook(1));
    assert!(!printed.contains(SECRET) && !printed.contains("[5, 5"), "{printed}");
}

#[test]
fn one_that_cannot_be_read_is_not_held_as_it_was_before() {
    let with = |change: fn(&mut v1::Webhook)| {
        let mut webhook = webhook(1);
        change(&mut webhook);
        webhook
    };
    let secrets = |change: fn(&mut v1::WebhookSecrets)| {
        let mut webhook = webhook(1);
        change(webhook.secrets.as_mut().unwrap());
        webhook
    };
    let wrong = [
        with(|w| w.account_id.clear()),
        with(|w| w.url = "ftp://receiver.test".into()),
        with(|w| w.url = "/hooks".into()),
        with(|w| w.url = "https://user@receiver.test".into()),
        with(|w| w.brand = "A\r\nb".into()),
        with(|w| w.headers[0].name = "a b".into()),
        with(|w| w.headers[0].value = "a\r\nb: c".into()),
        with(|w| w.oauth.as_mut().unwrap().token_url = "token".into()),
        secrets(|s| s.signing[0].hmac_key.truncate(23)),
        secrets(|s| s.signing[0].ed25519_seed.truncate(31)),
        secrets(|s| s.authorization = "a\nb".into()),
    ];
    for wrong in wrong {
        let snapshot = Snapshot::new();
        snapshot.apply(&delta(1, webhooks(vec![webhook(1)])));
        let applied = snapshot.apply(&delta(2, webhooks(vec![wrong.clone()])));
        assert_eq!((applied.rows, applied.unreadable), (1, 1), "{wrong:?}");
        assert!(held(&snapshot, 1).is_none(), "{wrong:?}");
    }
}

#[test]
fn one_that_is_removed_or_not_in_a_whole_snapshot_goes_and_what_was_taken_stays_whole() {
    let snapshot = Snapshot::new();
    full(&snapshot, 1, &webhooks((0..4).map(webhook).collect()));
    let taken = held(&snapshot, 1).unwrap();
    snapshot.apply(&delta(2, v1::Changes { removed_webhooks: vec![id(1)], ..Default::default() }));
    assert!(held(&snapshot, 1).is_none());
    assert_eq!(taken.url.query(), Some("n=1"));

    full(&snapshot, 3, &webhooks(vec![webhook(2), webhook(9)]));
    assert_eq!([0, 2, 3, 9].map(|n| held(&snapshot, n).is_some()), [false, true, false, true]);
    assert_eq!(snapshot.webhooks(), 2);
}

#[test]
fn one_without_its_secrets_is_held_without() {
    let snapshot = Snapshot::new();
    snapshot.apply(&delta(1, webhooks(vec![v1::Webhook { secrets: None, ..webhook(1) }])));
    assert!(held(&snapshot, 1).unwrap().secrets.is_none());
}
