//! Promises to whoever has something to be posted.

mod stand;

use std::time::Duration;

use clearway_config::{
    egress::{BATCH_ATTEMPTS_MAX, BODY_BYTES_MAX, control_mac, proxy_mac, v1, verify_control},
    sync,
};
use tonic::Code;

use super::Outcome;
use crate::sync::handshake::Mac;
use stand::{BYTES_MAX, Stand, TOKEN, attempt, attempts, id, numbers};

#[tokio::test]
async fn what_is_offered_reaches_a_proxy_and_its_result_comes_back() {
    let mut stand = Stand::new().await;
    assert_eq!(numbers(&stand.egress.offer(attempts([1]))), [1], "nobody is attached");
    let mut proxy = stand.attach(1, 10).await;
    let offered = v1::Attempt {
        webhook_id: vec![3; 16],
        body: "{}".into(),
        attempt: 4,
        event_type: "app.installed".into(),
        ..attempt(77, 0)
    };
    assert!(stand.egress.offer(vec![offered.clone()]).is_empty());
    assert_eq!(proxy.offered().await.unwrap().unwrap(), [offered]);
    proxy.answer([77]).await;
    let finished = stand.next().await;
    assert_eq!((finished.len(), finished[0].number, finished[0].proxy), (1, 77, id(1)));
    let Outcome::Answered(result) = &finished[0].outcome else { panic!("{finished:?}") };
    assert_eq!(result.status, Some(200));
    stand.metrics.egress(&stand.egress.proxies());
    let metrics = stand.metrics.render();
    assert!(metrics.contains("clearway_control_egress_attempts_total{outcome=\"2xx\"} 1"), "{metrics}");
    assert!(metrics.contains("clearway_control_egress_proxies 1"), "{metrics}");
}

#[tokio::test]
async fn a_proxy_never_has_more_in_flight_than_it_takes() {
    let mut stand = Stand::new().await;
    let mut proxy = stand.attach(1, 4).await;
    assert_eq!(stand.egress.room(), 4);
    assert_eq!(numbers(&stand.egress.offer(attempts(0..7))), [4, 5, 6]);
    assert_eq!((stand.egress.room(), stand.egress.in_flight()), (0, 4));
    assert_eq!(proxy.received(4).await, [0, 1, 2, 3]);
    proxy.answer([2, 0]).await;
    stand.until(|egress| egress.in_flight() == 2).await;
    assert_eq!(stand.egress.room(), 0, "an attempt counts until its outcome is taken");
    assert_eq!(stand.heard(2, false).await, [0, 2]);
    assert_eq!(stand.egress.room(), 2);
    assert!(stand.egress.offer(attempts([8, 9])).is_empty());
    assert_eq!(proxy.received(2).await, [8, 9]);
}

#[tokio::test]
async fn nor_more_bytes_and_what_is_too_long_waits_for_room() {
    let mut stand = Stand::new().await;
    let mut proxy = stand.attach(1, 100).await;
    let long = |number| attempt(number, BODY_BYTES_MAX);
    let most = BYTES_MAX / BODY_BYTES_MAX as u64;
    let back = stand.egress.offer((0..=most).map(long).collect());
    assert_eq!((numbers(&back), stand.egress.room()), (vec![most], 0));
    assert_eq!(proxy.received(most as usize).await.len() as u64, most);
    let mut rooms = stand.egress.rooms();
    proxy.answer([0]).await;
    stand.heard(1, false).await;
    assert_eq!(*rooms.wait_for(|room| *room > 0).await.unwrap(), 100 - 3);
    assert!(stand.egress.offer(back).is_empty());
}

#[tokio::test]
async fn many_attempts_go_out_in_few_messages() {
    let stand = Stand::new().await;
    let mut proxy = stand.attach(1, 2_000).await;
    assert!(stand.egress.offer(attempts(0..1_000)).is_empty());
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 1_000 {
        sizes.push(proxy.offered().await.unwrap().unwrap().len());
    }
    assert_eq!(sizes, [BATCH_ATTEMPTS_MAX, BATCH_ATTEMPTS_MAX, BATCH_ATTEMPTS_MAX, 1_000 - 3 * BATCH_ATTEMPTS_MAX]);
}

#[tokio::test]
async fn whoever_has_most_room_is_given_the_next() {
    let stand = Stand::new().await;
    let (mut small, mut large) = (stand.attach(1, 2).await, stand.attach(2, 5).await);
    assert_eq!(stand.egress.room(), 7);
    assert!(stand.egress.offer(attempts(0..7)).is_empty());
    let (small, large) = (small.received(2).await, large.received(5).await);
    assert_eq!(large[..3], [0, 1, 2], "as long as it has more than the other");
    assert_eq!(small.len() + large.len(), 7);
}

#[tokio::test]
async fn everything_in_flight_comes_back_as_lost_when_a_stream_breaks_and_nothing_else() {
    let mut stand = Stand::new().await;
    let (mut dying, mut living) = (stand.attach(1, 500).await, stand.attach(2, 500).await);
    assert!(stand.egress.offer(attempts(0..1_000)).is_empty());
    let taken = dying.received(500).await;
    dying.answer(taken[..100].iter().copied()).await;
    let mut answered = stand.heard(100, false).await;
    drop(dying);
    let lost = stand.heard(400, true).await;
    let kept = living.received(500).await;
    living.answer(kept.iter().copied()).await;
    answered.extend(stand.heard(500, false).await);
    let mut all: Vec<_> = answered.into_iter().chain(lost).collect();
    all.sort_unstable();
    assert_eq!(all, (0..1_000).collect::<Vec<_>>());
    assert_eq!((stand.egress.room(), stand.egress.in_flight()), (500, 0));
    assert!(stand.metrics.render().contains("attempts_total{outcome=\"lost\"} 400"));
}

#[tokio::test]
async fn a_new_stream_of_a_process_ends_its_old_one_and_none_of_another_process() {
    let mut stand = Stand::new().await;
    let mut old = stand.attach_process(1, [1; 16], 10).await;
    stand.egress.offer(attempts([1]));
    old.received(1).await;
    // In the place of the process, which still answers.
    let mut new = stand.attach_process(1, [2; 16], 10).await;
    assert_eq!(stand.egress.proxies().len(), 2);
    old.answer([1]).await;
    assert_eq!(stand.heard(1, false).await, [1]);
    old.drain().await;
    assert_eq!(old.offered().await.unwrap(), None, "it owes nothing, and ends");

    stand.until(|egress| egress.proxies().len() == 1).await;
    stand.egress.offer(attempts([2]));
    new.received(1).await;
    let _again = stand.attach_process(1, [2; 16], 10).await;
    assert_eq!(stand.heard(1, true).await, [2]);
    assert_eq!(new.offered().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_draining_proxy_is_given_nothing_more_and_ends_when_it_has_answered() {
    let mut stand = Stand::new().await;
    let mut proxy = stand.attach(1, 10).await;
    stand.egress.offer(attempts([1, 2]));
    proxy.received(2).await;
    proxy.drain().await;
    stand.until(|egress| egress.room() == 0).await;
    assert_eq!(numbers(&stand.egress.offer(attempts([3]))), [3]);
    assert!(stand.egress.proxies()[0].draining);
    proxy.answer([1]).await;
    proxy.answer([2]).await;
    assert_eq!(stand.heard(2, false).await, [1, 2]);
    assert_eq!(proxy.offered().await.unwrap(), None);
    stand.until(|egress| egress.proxies().is_empty()).await;
}

#[tokio::test]
async fn who_does_not_know_the_token_is_given_nothing() {
    let stand = Stand::new().await;
    let mut stranger = stand.connect(1).await;
    let challenge = stranger.challenged(stranger.hello()).await;
    assert!(verify_control(&TOKEN, &stranger.nonce, &challenge.nonce, &challenge.mac));
    stranger.prove(proxy_mac(&[8; 32], &stranger.nonce, &challenge.nonce)).await;
    assert_eq!(stranger.receive().await.unwrap_err().code(), Code::Unauthenticated);
    assert!(stand.egress.proxies().is_empty());
}

#[tokio::test]
async fn no_answer_of_the_sync_stream_and_none_played_back_opens_this_one() {
    let stand = Stand::new().await;
    let proofs: [Mac; 3] = [sync::proxy_mac, sync::control_mac, control_mac];
    for proof in proofs {
        let mut stranger = stand.connect(1).await;
        let challenge = stranger.challenged(stranger.hello()).await;
        assert!(!sync::verify_control(&TOKEN, &stranger.nonce, &challenge.nonce, &challenge.mac));
        stranger.prove(proof(&TOKEN, &stranger.nonce, &challenge.nonce)).await;
        assert_eq!(stranger.receive().await.unwrap_err().code(), Code::Unauthenticated);
    }
    assert!(stand.egress.proxies().is_empty());
}

#[tokio::test]
async fn a_hello_out_of_bounds_is_refused() {
    let stand = Stand::new().await;
    let wrong: [fn(&mut v1::Hello); 5] = [
        |hello| hello.attempts_max = 0,
        |hello| hello.bytes_max = 1_000,
        |hello| hello.instance.clear(),
        |hello| hello.nonce.truncate(31),
        |hello| hello.proxy_id.clear(),
    ];
    for wrong in wrong {
        let mut stranger = stand.connect(1).await;
        let mut hello = stranger.hello();
        wrong(&mut hello);
        stranger.send(v1::from_egress::Message::Hello(hello)).await;
        assert_eq!(stranger.receive().await.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_result_that_nobody_asked_for_ends_the_stream() {
    let mut stand = Stand::new().await;
    let mut proxy = stand.attach(1, 10).await;
    stand.egress.offer(attempts([1, 2]));
    proxy.received(2).await;
    proxy.answer([1, 1]).await;
    assert_eq!(stand.heard(1, false).await, [1]);
    assert_eq!(stand.heard(1, true).await, [2]);
    assert_eq!(proxy.offered().await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_proxy_that_falls_silent_is_gone_and_what_it_had_is_lost() {
    let mut stand = Stand::dropping_after(Duration::from_millis(500)).await;
    let mut proxy = stand.attach(1, 10).await;
    stand.egress.offer(attempts([1]));
    proxy.received(1).await;
    assert_eq!(stand.heard(1, true).await, [1]);
    assert_eq!(proxy.offered().await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn control_says_that_it_is_there_while_it_has_nothing_to_say() {
    let stand = Stand::new().await;
    let mut proxy = stand.attach(1, 10).await;
    for _ in 0..2 {
        assert_eq!(proxy.receive().await.unwrap(), Some(v1::to_egress::Message::KeepAlive(v1::KeepAlive {})));
    }
}

#[tokio::test]
async fn at_a_stop_every_stream_ends_and_what_was_in_flight_is_lost() {
    let mut stand = Stand::new().await;
    let mut proxy = stand.attach(1, 10).await;
    stand.egress.offer(attempts([1]));
    stand.egress.stop();
    assert_eq!(stand.heard(1, true).await, [1]);
    while let Ok(Some(_)) = proxy.offered().await {}
    assert!(stand.egress.proxies().is_empty());
}
