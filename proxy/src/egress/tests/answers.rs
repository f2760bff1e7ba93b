//! What becomes of an attempt, by what the receiver does.

use super::*;

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let inner = Receiver::start(|_, _| ok()).await;
    for code in ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"] {
        let to = format!("Location: http://{}/\r\n", inner.address);
        let receiver = Receiver::start(move |_, _| status(code, &to, "")).await;
        let outcome = post(&poster(&settings()), &receiver.url()).await;
        assert_eq!(outcome.status.map(|status| status / 100), Some(3), "{code}");
        assert!(outcome.reason.contains("not followed"), "{}", outcome.reason);
    }
    assert_eq!(inner.connections(), 0);
}

#[tokio::test]
async fn statuses_and_retry_after_are_told_as_they_came() {
    let receiver = Receiver::start(|n, _| match n {
        0 => status("410 Gone", "", ""),
        1 => status("429 Slow", "Retry-After: 120\r\n", "slow"),
        2 => status("503 No", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", ""),
        _ => status("500 Oops", "", ""),
    })
    .await;
    let poster = poster(&settings());
    let mut told = Vec::new();
    for _ in 0..4 {
        let outcome = post(&poster, &receiver.url()).await;
        told.push((outcome.status.unwrap(), outcome.retry_after.map(|wait| wait.as_secs())));
    }
    assert_eq!(told, [(410, None), (429, Some(120)), (503, Some(0)), (500, None)]);
}

#[tokio::test]
async fn a_receiver_that_hangs_is_given_up() {
    let receiver = Receiver::start(|_, _| Reply::Hang(Vec::new())).await;
    let first_byte_timeout = Duration::from_millis(50);
    let outcome = post(&poster(&EgressSettings { first_byte_timeout, ..settings() }), &receiver.url()).await;
    assert_failed(&outcome, Failure::FirstByteTimeout);
    assert_eq!(outcome.address, Some(receiver.address.ip()));

    let total_timeout = Duration::from_millis(50);
    let outcome = post(&poster(&EgressSettings { total_timeout, ..settings() }), &receiver.url()).await;
    assert_failed(&outcome, Failure::TotalTimeout);

    let mut own = wire(&receiver.url());
    own.first_byte_timeout_ms = 50;
    assert_failed(&poster(&settings()).post(&held(&own), message()).await, Failure::FirstByteTimeout);
}

#[tokio::test]
async fn an_answer_whose_body_never_ends_has_its_status_all_the_same() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome".to_vec();
    let receiver = Receiver::start(move |_, _| Reply::Hang(head.clone())).await;
    let total_timeout = Duration::from_millis(100);
    let outcome = post(&poster(&EgressSettings { total_timeout, ..settings() }), &receiver.url()).await;
    assert_eq!((outcome.status, outcome.failure), (Some(200), None));
    assert_eq!((outcome.response_body.as_str(), outcome.response_body_cut), ("some", true));
    assert!(outcome.reason.contains("time was over"), "{}", outcome.reason);
}

#[tokio::test]
async fn of_a_big_answer_the_beginning_is_kept() {
    let receiver = Receiver::start(|_, _| status("200 OK", "", &"x".repeat(1 << 20))).await;
    let outcome = post(&poster(&settings()), &receiver.url()).await;
    assert_eq!((outcome.status, outcome.response_body.len(), outcome.response_body_cut), (Some(200), 16 * 1024, true));
    let exactly = Receiver::start(|_, _| status("200 OK", "", &"x".repeat(16 * 1024))).await;
    let outcome = post(&poster(&settings()), &exactly.url()).await;
    assert_eq!((outcome.response_body.len(), outcome.response_body_cut), (16 * 1024, false));
}

#[tokio::test]
async fn an_answer_that_is_not_text_or_echoes_a_secret_is_kept_without_either() {
    let receiver = Receiver::start(|_, got| {
        let echo = got.headers["authorization"].to_str().unwrap().to_owned();
        let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{echo}", echo.len() + 1).into_bytes();
        bytes.push(0xff);
        Reply::Say(bytes)
    })
    .await;
    let mut wire = wire(&receiver.url());
    wire.secrets.as_mut().unwrap().authorization = "Bearer a-long-secret".to_owned();
    let outcome = poster(&settings()).post(&held(&wire), message()).await;
    assert_eq!(outcome.response_body, "…\u{fffd}");
}

#[tokio::test]
async fn what_is_not_http_or_breaks_off_is_broken() {
    let said = |bytes: &'static [u8]| Receiver::start(move |_, _| Reply::Last(bytes.to_vec()));
    for receiver in [said(b"SSH-2.0-OpenSSH\r\n\r\n").await, said(b"HTTP/1.1 200").await, said(b"").await] {
        assert_failed(&post(&poster(&settings()), &receiver.url()).await, Failure::Broken);
    }
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    let receiver = Receiver::start(move |_, _| Reply::Last(long.clone().into_bytes())).await;
    assert_failed(&post(&poster(&settings()), &receiver.url()).await, Failure::Broken);
}

#[tokio::test]
async fn no_more_attempts_are_made_at_a_time_than_there_is_room_for() {
    let receiver = Receiver::start(|n, _| if n == 0 { Reply::Hang(Vec::new()) } else { ok() }).await;
    let poster = poster(&EgressSettings { in_flight_max: 1, ..settings() });
    let (first, url) = (poster.clone(), receiver.url());
    let hanging = tokio::spawn(async move { post(&first, &url).await });
    while receiver.got().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_failed(&post(&poster, &receiver.url()).await, Failure::Overloaded);
    hanging.abort();
    let _ = hanging.await;
    assert_eq!(post(&poster, &receiver.url()).await.status, Some(200), "its place is given back");
}
