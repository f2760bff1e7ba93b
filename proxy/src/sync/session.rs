//! One stream, from hello to its end. It knows the messages and their order, not the network.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use clearway_config::sync::{
    HEARTBEAT_INTERVAL_MS, NONCE_BYTES, USAGE_BATCH_TOTALS_MAX, proxy_mac,
    v1::{self, FromControl, FromProxy, from_control, from_proxy},
    verify_control,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, interval_at, timeout},
};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use super::{Options, Reporter, UsageSource};
use crate::snapshot::{
    Mode, Snapshot,
    disk::{Disk, OnDisk},
    uptime_ms,
};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Control answers each heartbeat, or sends a snapshot.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Where there is another control process, silence ends a stream after a quarter of the lease, as far as these bounds allow.
const SILENCE_OF_ONE_MIN: Duration = Duration::from_secs(1);
const SILENCE_OF_ONE_MAX: Duration = Duration::from_secs(4);
/// A lease is renewed four times before it ends, and no more often than this.
const HEARTBEAT_MIN: Duration = Duration::from_millis(250);
const USAGE_INTERVAL: Duration = Duration::from_secs(1);
/// Heartbeats not yet answered at most: their answers wait behind a snapshot.
const UNANSWERED_MAX: usize = 3_600;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("control ended the stream")]
    Closed,
    #[error("the stream broke")]
    Broken(#[source] Box<Status>),
    #[error("control does not know the sync token")]
    Unproven,
    #[error("control broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("control was silent for too long")]
    Silent,
    #[error("the snapshot cannot be written to disk: {0}")]
    Disk(String),
}

pub(super) struct Session<'c> {
    snapshot: &'c Arc<Snapshot>,
    disk: &'c Disk,
    usage: &'c dyn UsageSource,
    token: [u8; NONCE_BYTES],
    nonce: [u8; NONCE_BYTES],
    /// How many whole snapshots must be on disk before anything may be acknowledged.
    snapshots: u64,
    /// Of the disk, before this session: its whole snapshot mends them.
    failures: u64,
    acknowledged: u64,
    /// Revisions that changed the gateway's objects, with the version that has to be built before they are in force.
    unbuilt: VecDeque<(u64, u64)>,
    /// What control was last told to be refused.
    told: Arc<v1::Refused>,
    heartbeats: u64,
    /// When each was sent, in [`uptime_ms`].
    unanswered: VecDeque<(u64, u64)>,
    batches: u64,
    batch_on_its_way: bool,
    /// Then there is more to say at once.
    batch_was_full: bool,
    answered: bool,
    /// How long control says that leases are.
    lease: Duration,
    silence_max: Option<Duration>,
    pub(super) reporter: Option<&'c dyn Reporter>,
}

/// What a session says first, but for who says it.
pub(super) struct Greeting {
    nonce: [u8; NONCE_BYTES],
    revision: u64,
    store_id: Vec<u8>,
    refused: Arc<v1::Refused>,
}

impl Greeting {
    pub(super) fn from(self, options: &Options) -> FromProxy {
        message(from_proxy::Message::Hello(v1::Hello {
            proxy_id: options.proxy.to_vec(),
            name: options.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            nonce: self.nonce.to_vec(),
            revision: self.revision,
            store_id: self.store_id,
            refused: Some(Arc::unwrap_or_clone(self.refused)),
        }))
    }
}

impl<'c> Session<'c> {
    /// `on_disk` is settled: nothing of an earlier session is on its way to the disk.
    pub(super) fn begin(
        snapshot: &'c Arc<Snapshot>,
        disk: &'c Disk,
        usage: &'c dyn UsageSource,
        on_disk: OnDisk,
        token: [u8; NONCE_BYTES],
    ) -> (Self, Greeting) {
        // Only what is on disk and in force is claimed, since a claim is as good as an acknowledgement; and nothing is
        // while memory is in between two snapshots.
        let built = snapshot.objects().built().borrow().clone();
        let in_force = built.version >= snapshot.objects().version();
        let resumes = in_force && snapshot.whole().is_some() && !on_disk.store_id.is_empty();
        let (revision, store_id) = if resumes { (on_disk.revision, on_disk.store_id) } else { (0, Vec::new()) };
        let session = Self {
            snapshot,
            disk,
            usage,
            token,
            nonce: rand::random(),
            snapshots: on_disk.snapshots,
            failures: on_disk.failures,
            acknowledged: revision,
            unbuilt: VecDeque::new(),
            told: built.refused.clone(),
            heartbeats: 0,
            unanswered: VecDeque::new(),
            batches: 0,
            batch_on_its_way: false,
            batch_was_full: false,
            answered: false,
            lease: SILENCE_MAX,
            silence_max: None,
            reporter: None,
        };
        let greeting = Greeting { nonce: session.nonce, revision, store_id, refused: built.refused };
        (session, greeting)
    }

    /// What leases last, until control says otherwise.
    pub(super) fn leases_of(&mut self, lease: Duration) {
        self.lease = lease;
    }

    pub(super) fn lease(&self) -> Duration {
        self.lease
    }

    /// There are others that may answer where this control process does not.
    pub(super) fn leaves_the_silent(&mut self) {
        self.silence_max = Some((self.lease / 4).clamp(SILENCE_OF_ONE_MIN, SILENCE_OF_ONE_MAX));
    }

    /// Whether it came as far as an answered heartbeat, with the disk in order.
    pub(super) fn was_useful(&self) -> bool {
        self.answered && self.disk.state().borrow().failed.is_none()
    }

    pub(super) async fn run(
        &mut self,
        mut incoming: impl Stream<Item = Result<FromControl, Status>> + Unpin,
        outgoing: mpsc::Sender<FromProxy>,
        connected: &watch::Sender<bool>,
    ) -> Ended {
        let within = self.silence_max.unwrap_or(HANDSHAKE_TIMEOUT);
        let proved = timeout(within, self.prove(&mut incoming, &outgoing)).await;
        let ended = match proved.unwrap_or(Err(Ended::Silent)) {
            Ok(()) => {
                connected.send_replace(true);
                tracing::info!(revision = self.acknowledged, "attached to control");
                self.attend(&mut incoming, &outgoing).await
            }
            Err(ended) => ended,
        };
        self.given_up();
        ended
    }

    /// Nothing more comes of it: what it has not heard of is to come again.
    pub(super) fn given_up(&mut self) {
        if std::mem::take(&mut self.batch_on_its_way) {
            self.usage.failed();
        }
    }

    /// Control proves itself first: whoever cannot is told nothing that the token was used for.
    async fn prove(
        &self,
        incoming: &mut (impl Stream<Item = Result<FromControl, Status>> + Unpin),
        outgoing: &mpsc::Sender<FromProxy>,
    ) -> Result<(), Ended> {
        let from_control::Message::Challenge(challenge) = received(incoming.next().await)? else {
            return Err(Ended::Protocol("its first message was not a challenge"));
        };
        if challenge.nonce.len() != NONCE_BYTES || !verify_control(&self.token, &self.nonce, &challenge.nonce, &challenge.mac) {
            return Err(Ended::Unproven);
        }
        let mac = proxy_mac(&self.token, &self.nonce, &challenge.nonce).to_vec();
        send(outgoing, from_proxy::Message::Proof(v1::Proof { mac })).await
    }

    async fn attend(
        &mut self,
        incoming: &mut (impl Stream<Item = Result<FromControl, Status>> + Unpin),
        outgoing: &mpsc::Sender<FromProxy>,
    ) -> Ended {
        let mut heartbeat = interval(self.heartbeat_every());
        let mut report = interval(USAGE_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut on_disk = self.disk.state();
        on_disk.mark_changed();
        let mut built = self.snapshot.objects().built();
        let mut heard = Instant::now();
        // What has come and was not looked at, since this process was stopped or waited for its disk, is no silence.
        let mut is_silent = false;
        loop {
            let done = tokio::select! {
                next = incoming.next() => {
                    is_silent = false;
                    let taken = match received(next) {
                        Ok(message) => self.take(message, outgoing).await,
                        Err(ended) => Err(ended),
                    };
                    heard = Instant::now();
                    if heartbeat.period() != self.heartbeat_every() {
                        heartbeat = interval_at(heard + self.heartbeat_every(), self.heartbeat_every());
                        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    }
                    taken
                }
                Ok(()) = on_disk.changed() => {
                    let state = on_disk.borrow_and_update().clone();
                    self.acknowledge(&state, outgoing).await
                }
                Ok(()) = built.changed() => {
                    built.mark_unchanged();
                    let state = on_disk.borrow().clone();
                    self.acknowledge(&state, outgoing).await
                }
                _ = heartbeat.tick() => {
                    let was_silent = std::mem::replace(&mut is_silent, heard.elapsed() > self.silence_max.unwrap_or(SILENCE_MAX));
                    if is_silent && was_silent { Err(Ended::Silent) } else { self.beat(outgoing) }
                }
                _ = report.tick(), if !self.batch_on_its_way => self.report(outgoing).await,
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }

    fn heartbeat_every(&self) -> Duration {
        (self.lease / 4).clamp(HEARTBEAT_MIN, Duration::from_millis(HEARTBEAT_INTERVAL_MS))
    }

    async fn take(&mut self, message: from_control::Message, outgoing: &mpsc::Sender<FromProxy>) -> Result<(), Ended> {
        match message {
            from_control::Message::Delta(delta) => {
                let version = self.snapshot.objects().version();
                self.note(self.snapshot.apply(&delta));
                self.wait_for_objects(delta.revision, version);
                self.disk.delta(delta).await;
            }
            from_control::Message::SnapshotBegin(begin) => {
                tracing::info!(revision = begin.revision, credentials = begin.credentials, "whole snapshot begins");
                self.snapshot.begin_full(&begin);
                self.snapshots += 1;
                // Of another history, perhaps: what was held of that is worth nothing in this one.
                self.acknowledged = 0;
                self.disk.begin(begin).await;
            }
            from_control::Message::SnapshotChunk(chunk) => {
                self.note(self.snapshot.apply_chunk(&chunk));
                self.disk.chunk(chunk).await;
            }
            from_control::Message::SnapshotEnd(end) => {
                let snapshot = self.snapshot.clone();
                let revision = end.revision;
                let removed = tokio::task::spawn_blocking(move || snapshot.end_full(&end)).await.ok().flatten();
                let removed = removed.ok_or(Ended::Protocol("a snapshot ended that had not begun"))?;
                tracing::info!(revision, removed, "whole snapshot applied");
                self.wait_for_objects(revision, 0);
                self.disk.end(end).await;
            }
            from_control::Message::HeartbeatReply(reply) => self.renew(reply).await,
            from_control::Message::UsageAck(ack) => {
                if self.batch_on_its_way && ack.sequence == self.batches {
                    self.usage.acknowledged();
                    self.batch_on_its_way = false;
                    if self.batch_was_full {
                        self.report(outgoing).await?;
                    }
                }
            }
            from_control::Message::Challenge(_) => return Err(Ended::Protocol("the handshake is over")),
        }
        Ok(())
    }

    /// Whether the objects changed since they were at `version`: then `revision` is in force when they are built.
    fn wait_for_objects(&mut self, revision: u64, version: u64) {
        let needs = self.snapshot.objects().version();
        if needs != version && self.snapshot.objects().built().borrow().version < needs {
            self.unbuilt.push_back((revision, needs));
        }
    }

    fn note(&self, applied: crate::snapshot::Applied) {
        if applied.unreadable > 0 {
            tracing::error!(rows = applied.unreadable, "rows not understood are refused: this proxy may be too old");
        }
    }

    /// All that control published before it answered has been applied: it is before the answer in the stream.
    async fn renew(&mut self, reply: v1::HeartbeatReply) {
        while let Some((sequence, sent_ms)) = self.unanswered.pop_front() {
            if sequence < reply.sequence {
                continue;
            }
            if sequence == reply.sequence && self.snapshot.whole().is_some() {
                let mode = if reply.strict { Mode::Strict } else { Mode::Available };
                let lease = self.snapshot.lease();
                lease.renew(sent_ms, reply.lease_ms);
                self.lease = Duration::from_millis(reply.lease_ms);
                if lease.mode() != mode {
                    lease.set_mode(mode);
                    self.disk.mode(reply).await;
                }
                self.answered = true;
            }
            break;
        }
    }

    /// Cumulative: one message for all that one flush brought to the disk, as far as it is in force or refused. Also
    /// where only what is refused has changed.
    async fn acknowledge(&mut self, on_disk: &OnDisk, outgoing: &mpsc::Sender<FromProxy>) -> Result<(), Ended> {
        if on_disk.failures != self.failures {
            return Err(Ended::Disk(on_disk.failed.clone().unwrap_or_default()));
        }
        let built = self.snapshot.objects().built().borrow().clone();
        while self.unbuilt.front().is_some_and(|&(_, needs)| needs <= built.version) {
            self.unbuilt.pop_front();
        }
        let in_force = self.unbuilt.front().map_or(u64::MAX, |&(revision, _)| revision.saturating_sub(1));
        let revision = on_disk.revision.min(in_force).max(self.acknowledged);
        let news = (built.refused != self.told).then(|| v1::Refused::clone(&built.refused));
        let is_due = revision > self.acknowledged || news.is_some();
        if on_disk.snapshots != self.snapshots || !is_due || on_disk.failed.is_some() {
            return Ok(());
        }
        self.acknowledged = revision;
        self.told = built.refused;
        send(outgoing, from_proxy::Message::Ack(v1::Ack { revision, refused: news })).await
    }

    /// Skipped when control does not read: a heartbeat that waits would renew nothing.
    fn beat(&mut self, outgoing: &mpsc::Sender<FromProxy>) -> Result<(), Ended> {
        let sequence = self.heartbeats + 1;
        // The time before it is sent: the lease is counted from here.
        let sent_ms = uptime_ms();
        // Neither now nor after a start from its disk does it serve without a lease.
        let strict = self.snapshot.lease().mode() == Mode::Strict && !self.disk.state().borrow().available;
        let report = self.reporter.map(Reporter::report);
        let heartbeat = message(from_proxy::Message::Heartbeat(v1::Heartbeat { sequence, strict, report }));
        match outgoing.try_send(heartbeat) {
            Ok(()) => {
                self.heartbeats = sequence;
                self.unanswered.push_back((sequence, sent_ms));
                if self.unanswered.len() > UNANSWERED_MAX {
                    self.unanswered.pop_front();
                }
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Ended::Closed),
        }
    }

    async fn report(&mut self, outgoing: &mpsc::Sender<FromProxy>) -> Result<(), Ended> {
        let totals = self.usage.take(USAGE_BATCH_TOTALS_MAX);
        if totals.is_empty() {
            return Ok(());
        }
        self.batch_on_its_way = true;
        self.batch_was_full = totals.len() == USAGE_BATCH_TOTALS_MAX;
        self.batches += 1;
        let ledger_id = self.usage.ledger_id().to_vec();
        send(outgoing, from_proxy::Message::Usage(v1::UsageBatch { sequence: self.batches, ledger_id, totals })).await
    }
}

fn received(next: Option<Result<FromControl, Status>>) -> Result<from_control::Message, Ended> {
    match next {
        None => Err(Ended::Closed),
        Some(Err(status)) => Err(Ended::Broken(Box::new(status))),
        Some(Ok(FromControl { message: Some(message) })) => Ok(message),
        // A newer control says something that this proxy does not know. It cannot be skipped: it may be a change.
        Some(Ok(FromControl { message: None })) => Err(Ended::Protocol("a message of an unknown kind")),
    }
}

fn message(message: from_proxy::Message) -> FromProxy {
    FromProxy { message: Some(message) }
}

async fn send(outgoing: &mpsc::Sender<FromProxy>, what: from_proxy::Message) -> Result<(), Ended> {
    outgoing.send(message(what)).await.map_err(|_| Ended::Closed)
}
