//! Records what clients saw of one key, and finds what must never be in such a history: a request
//! that began after the revoke was answered, and was accepted.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) gateway: String,
    pub(crate) began: Instant,
    /// `None`: no answer.
    pub(crate) status: Option<u16>,
}

/// Clients that keep asking each gateway with one key until told to stop.
#[derive(Debug)]
pub(crate) struct Clients {
    history: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Clients {
    /// `gateways` are names and URLs; each gets two clients.
    pub(crate) fn start(gateways: &[(String, String)], secret: &str) -> Self {
        let mut clients = Self { history: Arc::default(), stop: Arc::default(), tasks: JoinSet::new() };
        for (name, url) in gateways.iter().flat_map(|g| [g, g]) {
            let (history, stop) = (clients.history.clone(), clients.stop.clone());
            let (name, url, secret) = (name.clone(), format!("{url}/svc/x"), secret.to_owned());
            clients.tasks.spawn(async move {
                let client = crate::client_for(Duration::from_secs(5));
                while !stop.load(Ordering::SeqCst) {
                    let began = Instant::now();
                    let status = client.get(&url).bearer_auth(&secret).send().await.ok().map(|a| a.status().as_u16());
                    history.lock().expect("clients do not panic").push(Seen { gateway: name.clone(), began, status });
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            });
        }
        clients
    }

    /// What has been seen so far.
    pub(crate) fn so_far(&self) -> Vec<Seen> {
        self.history.lock().expect("clients do not panic").clone()
    }

    pub(crate) async fn stop(mut self) -> Vec<Seen> {
        self.stop.store(true, Ordering::SeqCst);
        while self.tasks.join_next().await.is_some() {}
        self.so_far()
    }
}

/// Requests that began after `revoked` and were accepted all the same.
pub(crate) fn violations(history: &[Seen], revoked: Instant) -> Vec<&Seen> {
    history.iter().filter(|seen| seen.began > revoked && seen.status.is_some_and(|s| s < 400)).collect()
}

#[test]
fn the_checker_finds_a_request_accepted_after_the_answer() {
    let revoked = Instant::now();
    let at = |ms, status| Seen { gateway: "g".into(), began: revoked + Duration::from_millis(ms), status };
    assert!(violations(&[at(0, Some(200)), at(5, Some(401)), at(6, Some(503)), at(7, None)], revoked).is_empty());
    assert_eq!(violations(&[at(5, Some(401)), at(6, Some(200))], revoked).len(), 1);
}
