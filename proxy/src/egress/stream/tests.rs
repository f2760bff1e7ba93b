//! A session against a control plane that says exactly what a test wants, and posts to nobody.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use clearway_config::{
    ProxyId,
    egress::{
        BATCH_ATTEMPTS_MAX, IN_FLIGHT_BYTES_MAX, RESPONSE_BODY_BYTES_MAX, control_mac,
        v1::{FromEgress, ToEgress, from_egress::Message as ToControl, to_egress::Message as ToProxy},
        verify_proxy,
    },
    sync::{self, NONCE_BYTES, v1::Challenge},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::*;
use crate::snapshot::Mode;

const TOKEN: [u8; NONCE_BYTES] = [7; NONCE_BYTES];

/// Attempts end when their numbers are reached, and answer with their own numbers for a status.
struct Gated {
    reached: watch::Receiver<u64>,
    running: AtomicUsize,
    most: AtomicUsize,
}

/// Counts an attempt that runs, however it ends.
struct Place<'g>(&'g Gated);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Post for Gated {
    async fn post(&self, attempt: v1::Attempt) -> v1::Result {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        let _place = Place(self);
        let _ = self.reached.clone().wait_for(|reached| *reached >= attempt.number).await;
        assert!(attempt.event_type != "panic", "as the test wants it");
        let response_body = String::from_utf8_lossy(&attempt.body).into_owned();
        v1::Result { status: Some(200), response_body, ..Default::default() }
    }
}

/// A proxy, and the control plane that it is attached to.
struct Control {
    client: Client<Gated>,
    reach: watch::Sender<u64>,
    draining: watch::Sender<bool>,
}

/// One stream, as control has it.
struct Peer {
    hello: v1::Hello,
    to: Option<mpsc::Sender<Result<ToEgress, Status>>>,
    from: mpsc::Receiver<FromEgress>,
}

impl Control {
    fn new(attempts_max: u32) -> Self {
        let (reach, reached) = watch::channel(0);
        let (draining, drained) = watch::channel(false);
        let options = Options {
            proxy: ProxyId::from_bytes([1; 16]),
            name: "gateway".into(),
            urls: vec![String::new()],
            token_file: PathBuf::new(),
            tls: None,
        };
        let snapshot = Arc::new(Snapshot::new());
        snapshot.lease().set_mode(Mode::Available);
        let [running, most] = [const { AtomicUsize::new(0) }; 2];
        let post = Arc::new(Gated { reached, running, most });
        let lane = Lane { runtime: tokio::runtime::Handle::current(), post };
        let client = Client {
            options,
            instance: [3; INSTANCE_BYTES],
            attempts_max,
            snapshot,
            lanes: Arc::new([lane]),
            metrics: Arc::default(),
            draining: drained,
        };
        Self { client, reach, draining }
    }

    /// One session; `script` ends it by returning, or hears it end.
    async fn session(&self, script: impl AsyncFnOnce(&mut Peer)) -> Ended {
        let (session, hello) = Session::begin(&self.client, TOKEN);
        let Some(ToControl::Hello(hello)) = hello.message else { panic!("a hello was due") };
        let (to, incoming) = mpsc::channel(8);
        let (outgoing, from) = mpsc::channel(4);
        let mut peer = Peer { hello, to: Some(to), from };
        let script = async {
            script(&mut peer).await;
            peer.to = None;
            peer
        };
        let mut useful = false;
        let run = session.run(ReceiverStream::new(incoming), outgoing, self.client.draining.clone(), &mut useful);
        let (ended, _peer) = tokio::join!(run, script);
        ended
    }

    async fn attached(&self, script: impl AsyncFnOnce(&mut Peer)) -> Ended {
        self.session(async |peer| {
            peer.challenge(control_mac(&TOKEN, &peer.hello.nonce, &[9; NONCE_BYTES])).await;
            let Some(ToControl::Proof(proof)) = peer.hear().await else { panic!("a proof was due") };
            assert!(verify_proxy(&TOKEN, &peer.hello.nonce, &[9; NONCE_BYTES], &proof.mac));
            script(peer).await;
        })
        .await
    }

    fn post(&self) -> &Gated {
        &self.client.lanes[0].post
    }

    /// Waits until so many attempts run.
    async fn running(&self, count: usize) {
        while self.post().running.load(Ordering::SeqCst) != count {
            tokio::task::yield_now().await;
        }
    }
}

impl Peer {
    async fn say(&mut self, message: ToProxy) {
        self.to.as_ref().unwrap().send(Ok(ToEgress { message: Some(message) })).await.unwrap();
    }

    async fn challenge(&mut self, mac: [u8; 32]) {
        self.say(ToProxy::Challenge(Challenge { nonce: [9; NONCE_BYTES].to_vec(), mac: mac.to_vec() })).await;
    }

    async fn hear(&mut self) -> Option<ToControl> {
        self.from.recv().await?.message
    }

    async fn offer(&mut self, attempts: Vec<v1::Attempt>) {
        self.say(ToProxy::Attempts(v1::Attempts { attempts })).await;
    }

    /// The next message that is no keep-alive.
    async fn told(&mut self) -> Option<ToControl> {
        loop {
            match self.hear().await? {
                ToControl::KeepAlive(_) => {}
                other => return Some(other),
            }
        }
    }

    /// The next `count` results, by number.
    async fn results(&mut self, count: usize) -> Vec<v1::Result> {
        let mut all = Vec::new();
        while all.len() < count {
            let Some(ToControl::Results(results)) = self.told().await else { panic!("results were due") };
            assert!((1..=BATCH_ATTEMPTS_MAX).contains(&results.results.len()));
            all.extend(results.results);
        }
        all.sort_by_key(|result| result.number);
        all
    }
}

fn attempts(numbers: impl IntoIterator<Item = u64>) -> Vec<v1::Attempt> {
    numbers.into_iter().map(|number| v1::Attempt { number, ..Default::default() }).collect()
}

fn numbers(results: &[v1::Result]) -> Vec<u64> {
    results.iter().map(|result| result.number).collect()
}

#[tokio::test]
async fn a_peer_that_has_not_proved_itself_is_told_nothing() {
    let control = Control::new(10);
    let mac_of_sync = |peer: &Peer| sync::control_mac(&TOKEN, &peer.hello.nonce, &[9; NONCE_BYTES]);
    let mac_of_another = |peer: &Peer| control_mac(&[8; NONCE_BYTES], &peer.hello.nonce, &[9; NONCE_BYTES]);
    for mac in [mac_of_sync, mac_of_another] {
        let ended = control
            .session(async |peer| {
                peer.challenge(mac(peer)).await;
                assert_eq!(peer.hear().await, None);
            })
            .await;
        assert!(matches!(ended, Ended::Unproven));
    }
    let ended = control
        .session(async |peer| {
            peer.offer(attempts([1])).await;
            assert_eq!(peer.hear().await, None);
        })
        .await;
    assert!(matches!(ended, Ended::Protocol(_)));
    assert_eq!(control.post().most.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn every_attempt_is_answered_under_its_number_as_soon_as_it_has_ended() {
    let control = Control::new(1_000);
    control
        .attached(async |peer| {
            let hello = &peer.hello;
            assert_eq!((hello.attempts_max, hello.bytes_max, &hello.instance), (1_000, IN_FLIGHT_BYTES_MAX, &vec![3; 16]));
            peer.offer(attempts(1..=600)).await;
            peer.offer(attempts(601..=1_000)).await;
            control.running(1_000).await;
            control.reach.send_replace(1);
            assert_eq!(numbers(&peer.results(1).await), [1], "nobody waits for the others");
            control.reach.send_replace(1_000);
            let results = peer.results(999).await;
            assert_eq!(numbers(&results), (2..=1_000).collect::<Vec<_>>());
            assert!(results.iter().all(|result| result.status == Some(200)));
        })
        .await;
    let metrics = control.client.metrics.render();
    assert!(metrics.contains("clearway_egress_attempts_total{outcome=\"2xx\"} 1000"), "{metrics}");
    assert!(metrics.contains("clearway_egress_in_flight 0"), "{metrics}");
}

#[tokio::test]
async fn no_more_run_at_once_than_was_said_and_the_rest_is_given_back_unsent() {
    let control = Control::new(4);
    control
        .attached(async |peer| {
            peer.offer(attempts(1..=10)).await;
            let refused = peer.results(6).await;
            assert_eq!(numbers(&refused), [5, 6, 7, 8, 9, 10]);
            assert!(refused.iter().all(|result| result.failure() == v1::Failure::Overloaded));
            control.reach.send_replace(100);
            assert_eq!(numbers(&peer.results(4).await), [1, 2, 3, 4]);
            peer.offer(attempts(11..=14)).await;
            peer.results(4).await;
        })
        .await;
    assert_eq!(control.post().most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn nor_more_bytes() {
    let control = Control::new(10);
    let long = |number| v1::Attempt { number, body: vec![0; IN_FLIGHT_BYTES_MAX as usize - 1].into(), ..Default::default() };
    control
        .attached(async |peer| {
            peer.offer(vec![long(1), long(2)]).await;
            let refused = peer.results(1).await;
            assert_eq!((refused[0].number, refused[0].failure()), (2, v1::Failure::Overloaded));
        })
        .await;
}

#[tokio::test]
async fn a_stopping_proxy_says_so_gives_back_what_comes_late_and_answers_for_what_it_has() {
    let control = Control::new(10);
    let ended = control
        .attached(async |peer| {
            peer.offer(attempts([1, 2])).await;
            control.running(2).await;
            control.draining.send_replace(true);
            assert_eq!(peer.told().await, Some(ToControl::Draining(v1::Draining {})));
            peer.offer(attempts([3])).await;
            let late = peer.results(1).await;
            assert_eq!((late[0].number, late[0].failure()), (3, v1::Failure::Overloaded));
            control.reach.send_replace(9);
            assert_eq!(numbers(&peer.results(2).await), [1, 2]);
        })
        .await;
    assert!(matches!(ended, Ended::Drained), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_whose_lease_has_run_out_takes_no_more_and_answers_for_what_it_has() {
    let control = Control::new(10);
    let ended = control
        .attached(async |peer| {
            peer.offer(attempts([1])).await;
            control.running(1).await;
            control.client.snapshot.lease().set_mode(Mode::Strict);
            assert_eq!(peer.told().await, Some(ToControl::Draining(v1::Draining {})));
            control.reach.send_replace(9);
            assert_eq!(numbers(&peer.results(1).await), [1]);
        })
        .await;
    assert!(matches!(ended, Ended::Drained), "{ended:?}");
}

#[tokio::test]
async fn what_runs_when_a_stream_breaks_is_given_up() {
    let control = Control::new(10);
    let ended = control
        .attached(async |peer| {
            peer.offer(attempts([1, 2, 3])).await;
            control.running(3).await;
        })
        .await;
    assert!(matches!(ended, Ended::Closed), "{ended:?}");
    control.running(0).await;
    assert!(control.client.metrics.render().contains("attempts_total{outcome=\"given_up\"} 3"));
}

#[tokio::test]
async fn an_attempt_that_panics_is_answered_and_the_others_go_on() {
    let control = Control::new(10);
    control
        .attached(async |peer| {
            let panics = v1::Attempt { number: 1, event_type: "panic".into(), ..Default::default() };
            peer.offer(vec![panics, v1::Attempt { number: 2, ..Default::default() }]).await;
            control.reach.send_replace(9);
            let results = peer.results(2).await;
            assert_eq!((results[0].failure(), results[1].status), (v1::Failure::Broken, Some(200)));
            assert!(results[0].started_at > 0);
        })
        .await;
}

#[tokio::test]
async fn however_much_a_receiver_says_a_message_to_control_stays_small() {
    let control = Control::new(1_000);
    control.reach.send_replace(u64::MAX);
    control
        .attached(async |peer| {
            let long = |number| v1::Attempt { number, body: "é".repeat(100_000).into(), ..Default::default() };
            peer.offer((0..200).map(long).collect()).await;
            let mut left = 200;
            while left > 0 {
                let Some(ToControl::Results(results)) = peer.told().await else { panic!("results were due") };
                assert!(prost::Message::encoded_len(&results) < 2 * 1024 * 1024);
                assert!(results.results.iter().all(|r| r.response_body.len() == RESPONSE_BODY_BYTES_MAX && r.response_body_cut));
                left -= results.results.len();
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_falls_silent_is_left_and_hears_until_then_that_the_proxy_is_there() {
    let control = Control::new(10);
    let ended = control
        .attached(async |peer| {
            let mut heard = 0;
            while let Some(message) = peer.hear().await {
                assert_eq!(message, ToControl::KeepAlive(v1::KeepAlive {}));
                heard += 1;
            }
            assert!((15..=17).contains(&heard), "{heard}");
        })
        .await;
    assert!(matches!(ended, Ended::Silent), "{ended:?}");
}
