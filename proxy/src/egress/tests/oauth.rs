//! Access tokens.

use super::*;

fn granted(token: &str) -> Reply {
    status("200 OK", "Content-Type: application/json\r\n", &format!(r#"{{"access_token":"{token}","token_type":"Bearer"}}"#))
}

fn with_oauth(receiver: &Receiver, authority: &Receiver) -> Arc<Webhook> {
    let mut wire = wire(&receiver.url());
    let token_url = format!("http://{}/token", authority.address);
    wire.oauth = Some(v1::OauthClient { token_url, client_id: "me".into(), scope: Some("hooks".into()), secret_in_body: false });
    wire.secrets.as_mut().unwrap().oauth_client_secret = "s3cret".to_owned();
    held(&wire)
}

#[tokio::test]
async fn a_token_is_fetched_once_by_however_many_wait_and_kept() {
    let (receiver, authority) = (Receiver::start(|_, _| ok()).await, Receiver::start(|_, _| granted("t-1")).await);
    let (poster, webhook) = (poster(&settings()), with_oauth(&receiver, &authority));
    let attempts: Vec<_> = (0..20)
        .map(|_| {
            let (poster, webhook) = (poster.clone(), webhook.clone());
            tokio::spawn(async move { poster.post(&webhook, message()).await })
        })
        .collect();
    for attempt in attempts {
        assert_eq!(attempt.await.unwrap().status, Some(200));
    }
    assert!(receiver.got().iter().all(|got| got.headers["authorization"] == "Bearer t-1"));
    let [asked] = &authority.got()[..] else { panic!("asked {} times", authority.got().len()) };
    assert_eq!(asked.headers["authorization"], "Basic bWU6czNjcmV0");
    assert_eq!(asked.body, b"grant_type=client_credentials&scope=hooks");
}

#[tokio::test]
async fn a_token_that_the_receiver_refuses_is_fetched_anew_once() {
    let receiver = Receiver::start(|_, got| match got.headers["authorization"].to_str().unwrap() {
        "Bearer t-1" => ok(),
        _ => status("401 No", "", "no"),
    })
    .await;
    let authority = Receiver::start(|n, _| granted(&format!("t-{n}"))).await;
    let (poster, webhook) = (poster(&settings()), with_oauth(&receiver, &authority));
    assert_eq!(poster.post(&webhook, message()).await.status, Some(200));
    assert_eq!((receiver.got().len(), authority.got().len()), (2, 2));
    assert_eq!(poster.post(&webhook, message()).await.status, Some(200));
    assert_eq!((receiver.got().len(), authority.got().len()), (3, 2));

    let never = Receiver::start(|_, _| status("401 No", "", "no")).await;
    let webhook = with_oauth(&never, &authority);
    assert_eq!(poster.post(&webhook, message()).await.status, Some(401));
    assert_eq!(never.got().len(), 2, "once");
}

#[tokio::test]
async fn without_a_token_nothing_is_posted_and_no_secret_is_told() {
    let receiver = Receiver::start(|_, _| ok()).await;
    let poster = poster(&settings());
    for reply in ["400 Bad", "302 Found", "500 Oops"] {
        let authority = Receiver::start(move |_, _| status(reply, "Location: /x\r\n", "s3cret")).await;
        let outcome = poster.post(&with_oauth(&receiver, &authority), message()).await;
        assert_failed(&outcome, Failure::Oauth);
        assert!(!outcome.reason.contains("s3cret"), "{}", outcome.reason);
    }
    for body in ["", "[]", r#"{"access_token":1}"#, r#"{"access_token":"x","token_type":"mac"}"#, &"x".repeat(1 << 20)] {
        let body = body.to_owned();
        let authority = Receiver::start(move |_, _| status("200 OK", "", &body)).await;
        assert_failed(&poster.post(&with_oauth(&receiver, &authority), message()).await, Failure::Oauth);
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn the_authorization_server_is_asked_through_the_guard() {
    let (receiver, private) = (Receiver::start(|_, _| ok()).await, Receiver::at("127.0.0.2:0", |_, _| granted("t")).await);
    let outcome = poster(&settings()).post(&with_oauth(&receiver, &private), message()).await;
    assert_failed(&outcome, Failure::Oauth);
    assert_eq!(private.connections(), 0);
}
