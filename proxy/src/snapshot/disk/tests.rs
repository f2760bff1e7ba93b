//! What survives.

use std::{fs, path::Path, sync::Arc};

use clearway_config::KeyHash;

use super::{
    super::{
        tests::{credential, credentials, delta, full, hash, rows, seen},
        webhooks::tests::{SECRET, held, webhook, webhooks},
    },
    *,
};

struct Proxy {
    snapshot: Arc<Snapshot>,
    disk: Disk,
}

fn open(directory: &Path) -> Proxy {
    open_at(directory, COMPACT_BYTES_MIN)
}

fn open_at(directory: &Path, compact_bytes_min: u64) -> Proxy {
    let snapshot = Arc::new(Snapshot::new());
    let disk = Disk::open_compacting_at(directory, &directory.join("snapshot.key"), snapshot.clone(), compact_bytes_min).unwrap();
    Proxy { snapshot, disk }
}

impl Proxy {
    /// Memory first, then disk: as the client does it.
    async fn full(&self, revision: u64, rows: v1::Changes) {
        full(&self.snapshot, revision, &rows);
        self.disk.begin(super::super::tests::begin(revision)).await;
        self.disk.chunk(rows).await;
        self.disk.end(v1::SnapshotEnd { revision }).await;
    }

    async fn delta(&self, delta: v1::Delta) {
        self.snapshot.apply(&delta);
        self.disk.delta(delta).await;
    }

    fn all(&self) -> Vec<Option<String>> {
        (0..200).map(|n| seen(&self.snapshot, n)).collect()
    }
}

fn revoked(n: u64) -> v1::Credential {
    v1::Credential { revoked: true, ..credential(n) }
}

#[tokio::test]
async fn what_was_on_disk_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path());
    before.full(5, rows(0..100)).await;
    before.delta(delta(6, credentials(vec![revoked(1), credential(150)]))).await;
    before.delta(delta(8, v1::Changes { removed_credentials: vec![hash(2).to_vec()], ..Default::default() })).await;
    before.disk.mode(v1::HeartbeatReply { strict: false, lease_ms: 10_000, sequence: 1 }).await;
    let on_disk = before.disk.settle().await.unwrap();
    let all = before.all();
    drop(before);

    let after = open(dir.path());
    assert!(after.snapshot.is_ready());
    assert_eq!(after.snapshot.revision(), 8);
    assert_eq!(after.all(), all);
    assert_eq!(after.snapshot.lease().mode(), Mode::Available);
    let state = after.disk.settle().await.unwrap();
    assert_eq!(state, OnDisk { snapshots: 0, ..on_disk });
    assert_eq!((state.revision, state.store_id), (8, vec![7; 16]));
}

#[tokio::test]
async fn what_is_said_to_be_on_disk_is_there_while_the_process_still_runs() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = open(dir.path());
    proxy.full(1, rows(0..10)).await;
    let mut state = proxy.disk.state();
    for revision in 2..50 {
        proxy.delta(delta(revision, credentials(vec![revoked(revision % 10)]))).await;
        let said = state.wait_for(|state| state.revision >= revision).await.unwrap().revision;
        // A copy of the files is what a crash at this moment would leave.
        let copy = tempfile::tempdir().unwrap();
        for name in [load::BASE, load::LOG] {
            fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        assert!(open(copy.path()).snapshot.revision() >= said);
    }
}

#[tokio::test]
async fn a_torn_or_damaged_tail_is_cut_off_and_the_log_goes_on() {
    for damage in ["torn", "flipped", "zeroes"] {
        let dir = tempfile::tempdir().unwrap();
        let proxy = open(dir.path());
        proxy.full(1, rows(0..10)).await;
        proxy.delta(delta(2, credentials(vec![revoked(2)]))).await;
        proxy.disk.settle().await.unwrap();
        let log = dir.path().join(load::LOG);
        let whole = fs::read(&log).unwrap().len();
        proxy.delta(delta(3, credentials(vec![revoked(3)]))).await;
        drop(proxy);

        let mut bytes = fs::read(&log).unwrap();
        match damage {
            "torn" => bytes.truncate(bytes.len() - 3),
            "flipped" => *bytes.last_mut().unwrap() ^= 1,
            _ => {
                bytes.truncate(whole);
                bytes.extend([0; 100]);
            }
        }
        fs::write(&log, bytes).unwrap();

        let proxy = open(dir.path());
        assert_eq!(proxy.snapshot.revision(), 2, "{damage}");
        assert_eq!(fs::read(&log).unwrap().len(), whole, "{damage}");
        proxy.delta(delta(3, credentials(vec![revoked(3)]))).await;
        drop(proxy);
        assert_eq!(open(dir.path()).snapshot.revision(), 3, "{damage}");
    }
}

#[tokio::test]
async fn a_damaged_base_is_refused_whole_until_a_snapshot_comes() {
    for position in [0, 20, 200, usize::MAX] {
        let dir = tempfile::tempdir().unwrap();
        let proxy = open(dir.path());
        proxy.full(4, rows(0..50)).await;
        drop(proxy);
        let base = dir.path().join(load::BASE);
        let mut bytes = fs::read(&base).unwrap();
        if position == usize::MAX {
            // Its last message is missing.
            bytes.truncate(bytes.len() - 1);
        } else {
            bytes[position] ^= 0x10;
        }
        fs::write(&base, bytes).unwrap();

        let proxy = open(dir.path());
        assert!(!proxy.snapshot.is_ready());
        let state = proxy.disk.settle().await.unwrap();
        assert_eq!((state.revision, state.store_id.len()), (0, 0));
        proxy.full(9, rows(0..5)).await;
        assert!(proxy.snapshot.is_ready());
        drop(proxy);
        let proxy = open(dir.path());
        assert_eq!((proxy.snapshot.revision(), proxy.snapshot.credentials()), (9, 5));
    }
}

#[tokio::test]
async fn an_interrupted_whole_snapshot_leaves_the_old_files_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = open(dir.path());
    proxy.full(4, rows(0..50)).await;
    proxy.disk.begin(super::super::tests::begin(9)).await;
    proxy.disk.chunk(rows(0..5)).await;
    let state = proxy.disk.settle().await.unwrap();
    assert_eq!((state.revision, state.snapshots), (4, 1));
    proxy.disk.end(v1::SnapshotEnd { revision: 9 }).await;
    drop(proxy);
    let proxy = open(dir.path());
    assert_eq!((proxy.snapshot.revision(), proxy.snapshot.credentials()), (4, 50));
}

#[tokio::test]
async fn a_long_log_becomes_a_new_base_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = open_at(dir.path(), 2_000);
    proxy.full(1, rows(0..100)).await;
    proxy.disk.settle().await.unwrap();
    let base = fs::read(dir.path().join(load::BASE)).unwrap();
    let mut revision = 1;
    // As long as it takes: the new base is written beside the deltas.
    while fs::read(dir.path().join(load::BASE)).unwrap() == base {
        revision += 1;
        proxy.delta(delta(revision, credentials(vec![revoked(revision % 100), credential(100 + revision % 100)]))).await;
        proxy.disk.settle().await.unwrap();
    }
    revision += 1;
    proxy.delta(delta(revision, v1::Changes { removed_credentials: vec![hash(0).to_vec()], ..Default::default() })).await;
    let all = proxy.all();
    drop(proxy);

    let proxy = open(dir.path());
    assert_eq!(proxy.snapshot.revision(), revision);
    assert_eq!(proxy.all(), all);
}

#[tokio::test]
async fn a_crash_between_the_two_renames_loses_nothing() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (dir, revision) in [(&old, 3), (&new, 9)] {
        let proxy = open(dir.path());
        proxy.full(revision, rows(0..revision)).await;
        proxy.delta(delta(revision + 1, credentials(vec![revoked(1)]))).await;
        drop(proxy);
    }
    // The new base has taken over; its log still has the name it was written under.
    fs::copy(new.path().join(load::BASE), old.path().join(load::BASE)).unwrap();
    fs::copy(new.path().join(load::LOG), old.path().join(load::NEXT_LOG)).unwrap();
    assert_eq!(open(old.path()).snapshot.revision(), 10);

    // And before the base did: the log of a base that never came is no concern of the old one.
    fs::copy(old.path().join(load::LOG), new.path().join(load::NEXT_LOG)).unwrap();
    let mut bytes = fs::read(new.path().join(load::NEXT_LOG)).unwrap();
    bytes[24] ^= 0xff;
    fs::write(new.path().join(load::NEXT_LOG), bytes).unwrap();
    assert_eq!(open(new.path()).snapshot.revision(), 10);
}

#[tokio::test]
async fn after_a_failed_write_only_a_whole_snapshot_is_relied_on() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = open(dir.path());
    proxy.full(1, rows(0..10)).await;
    proxy.disk.settle().await.unwrap();
    // Nothing can be made in a directory that is gone.
    fs::remove_dir_all(dir.path()).unwrap();
    proxy.full(2, rows(0..10)).await;
    let state = proxy.disk.settle().await.unwrap();
    assert!(state.failed.is_some());
    assert_eq!((state.revision, state.store_id.len()), (1, 0));

    fs::create_dir(dir.path()).unwrap();
    proxy.full(3, rows(0..10)).await;
    let state = proxy.disk.settle().await.unwrap();
    assert_eq!((state.revision, state.failed), (3, None));
}

fn signing(n: u64) -> v1::Credential {
    v1::Credential { require_signature: true, signing_secret: b"thirty-two bytes to be signed by".to_vec(), ..credential(n) }
}

/// The signing secret that a request by key `n` is verified by.
fn signs_by(snapshot: &Snapshot, n: u64) -> Option<Vec<u8>> {
    let view = snapshot.pin();
    let found = view.find(&KeyHash::from_bytes(hash(n))).unwrap();
    assert!(found.requires_signature());
    view.signers(&found.key_id()).map(|signers| signers[0].secret().to_vec())
}

fn files_hold(directory: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(directory).unwrap().any(|file| {
        let content = fs::read(file.unwrap().path()).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test]
async fn signing_secrets_survive_and_stand_nowhere_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let before = open_at(dir.path(), 1);
    let secret = signing(1).signing_secret;
    before.full(1, v1::Changes { credentials: vec![signing(1), credential(2)], ..rows([]) }).await;
    before.delta(delta(2, credentials(vec![signing(3)]))).await;
    // A log this long is compacted: the whole table is written from memory.
    for revision in 3..40 {
        before.delta(delta(revision, credentials(vec![revoked(2)]))).await;
        before.disk.settle().await.unwrap();
    }
    drop(before);
    assert!(!files_hold(dir.path(), &secret));
    let after = open(dir.path());
    assert_eq!([1, 3].map(|n| signs_by(&after.snapshot, n)), [Some(secret.clone()), Some(secret)]);
    assert_eq!(after.disk.settle().await.unwrap().store_id, vec![7; 16]);
}

#[tokio::test]
async fn without_the_key_of_its_files_a_proxy_refuses_what_signs_and_asks_anew() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path());
    before.full(1, v1::Changes { credentials: vec![signing(1), credential(2)], ..rows([]) }).await;
    before.disk.settle().await.unwrap();
    drop(before);
    fs::remove_file(dir.path().join("snapshot.key")).unwrap();
    let after = open(dir.path());
    assert_eq!(signs_by(&after.snapshot, 1), None, "required, and nothing is right");
    assert!(seen(&after.snapshot, 2).is_some());
    assert!(after.disk.settle().await.unwrap().store_id.is_empty());
}

#[tokio::test]
async fn a_certificates_key_is_on_disk_sealed_and_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = open(dir.path());
    let certificate = |name: &str| v1::Certificate {
        name: name.into(),
        chain: b"a chain".to_vec(),
        key: b"the plain key".to_vec(),
        sealed_key: Vec::new(),
    };
    let changes = |name: &str| v1::Changes { certificates: vec![certificate(name)], ..Default::default() };
    proxy.full(1, changes("one")).await;
    proxy.delta(delta(2, changes("other"))).await;
    proxy.disk.settle().await.unwrap();
    for file in [load::BASE, load::LOG] {
        let bytes = fs::read(dir.path().join(file)).unwrap();
        assert!(!bytes.windows(13).any(|window| window == b"the plain key"), "{file}");
    }
    drop(proxy);
    let told = open(dir.path()).snapshot.objects().certificates();
    assert_eq!(told.iter().map(|told| told.name.as_str()).collect::<Vec<_>>(), ["one", "other"]);
    assert!(told.iter().all(|told| *told.key == b"the plain key"));
}

/// Whether a webhook is there, with its secrets.
fn posts_to(snapshot: &Snapshot, n: u64) -> Option<bool> {
    held(snapshot, n).map(|webhook| webhook.secrets.as_ref().is_some_and(|secrets| secrets.live(0).count() == 2))
}

#[tokio::test]
async fn webhooks_survive_with_their_secrets_which_stand_nowhere_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let before = open_at(dir.path(), 1);
    before.full(1, v1::Changes { credentials: vec![credential(2)], ..webhooks(vec![webhook(1), webhook(2)]) }).await;
    before.delta(delta(2, webhooks(vec![webhook(3)]))).await;
    before.delta(delta(3, v1::Changes { removed_webhooks: vec![webhook(2).id], ..Default::default() })).await;
    // A log this long is compacted: the whole table is written from memory.
    for revision in 4..40 {
        before.delta(delta(revision, webhooks(vec![v1::Webhook { active: false, ..webhook(4) }]))).await;
        before.disk.settle().await.unwrap();
    }
    let url = held(&before.snapshot, 1).unwrap().url.clone();
    drop(before);
    assert!(!files_hold(dir.path(), SECRET.as_bytes()));
    let after = open(dir.path());
    assert_eq!([1, 2, 3, 4].map(|n| posts_to(&after.snapshot, n)), [Some(true), None, Some(true), Some(true)]);
    assert_eq!((&held(&after.snapshot, 1).unwrap().url, held(&after.snapshot, 4).unwrap().active), (&url, false));
    assert_eq!(after.disk.settle().await.unwrap().store_id, vec![7; 16]);
}

#[tokio::test]
async fn without_the_key_of_its_files_a_proxy_holds_webhooks_without_secrets_and_asks_anew() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path());
    before.full(1, webhooks(vec![webhook(1)])).await;
    before.disk.settle().await.unwrap();
    drop(before);
    fs::remove_file(dir.path().join("snapshot.key")).unwrap();
    let after = open(dir.path());
    assert_eq!(posts_to(&after.snapshot, 1), Some(false));
    assert!(after.disk.settle().await.unwrap().store_id.is_empty());
}

#[test]
fn a_webhooks_secrets_open_for_the_url_that_they_were_sealed_for_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(&dir.path().join("snapshot.key")).unwrap();
    let mut sealed = webhooks(vec![webhook(1)]);
    vault.seal(&mut sealed);
    assert_eq!(sealed.webhooks[0].secrets, None);
    let mut moved = sealed.clone();
    moved.webhooks[0].url = "https://elsewhere.test/".into();
    assert!(!vault.unseal(&mut moved) && moved.webhooks[0].secrets.is_none());
    assert!(vault.unseal(&mut sealed));
    assert_eq!(sealed, webhooks(vec![webhook(1)]));
}
