//! Keys for a gateway without a control plane: a disk snapshot and a ledger, written by the product's own code.

use std::{
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use clearway_config::{
    AccountId, Environment, KeyId, Limits, PlainKey, RequestId, WebhookId, sync::CHUNK_CREDENTIALS_MAX, sync::v1,
};
use clearway_filters::quota::Now;
use clearway_proxy::{
    ledger::{Ledger, Subject},
    snapshot::{Snapshot, disk::Disk},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

/// Keys that share an account, unless each has one of its own.
const KEYS_AN_ACCOUNT: usize = 100;
/// Requests a day that the exhaustible key may make.
const EXHAUSTIBLE_DAY: u64 = 3;
const STORE: &[u8] = b"the bench's store";

/// Secrets in clear, for the clients, and what the gateway may know of them.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) secrets: Arc<[String]>,
    /// A key with a small limit a day.
    pub(crate) exhaustible: String,
    pub(crate) exhaustible_day: u64,
    /// Where a webhook of the first account's posts to, where there is one.
    webhook: Option<String>,
    keys_an_account: usize,
    account_limits: v1::Limits,
    /// Of the first keys, in their order; the others' are roomy.
    limits: Vec<v1::Limits>,
}

impl Keys {
    /// `count` keys, the same in every run.
    pub(crate) fn mint(count: usize) -> Self {
        let mut random = StdRng::seed_from_u64(count as u64);
        let mut mint = || PlainKey::mint(Environment::Live, random.random()).reveal().to_owned();
        let secrets = (0..count).map(|_| mint()).collect();
        Self {
            secrets,
            exhaustible: mint(),
            exhaustible_day: EXHAUSTIBLE_DAY,
            webhook: None,
            keys_an_account: KEYS_AN_ACCOUNT,
            account_limits: roomy(),
            limits: Vec::new(),
        }
    }

    /// One key of each of these limits, with an account of its own.
    pub(crate) fn limited(account_limits: v1::Limits, limits: Vec<v1::Limits>) -> Self {
        let minted = Self::mint(limits.len());
        Self { keys_an_account: 1, account_limits, limits, ..minted }
    }

    /// With a webhook of the first hundred keys' account.
    pub(crate) fn posting_to(self, url: String) -> Self {
        Self { webhook: Some(url), ..self }
    }

    /// Keys that must not pass: one of another run, and three that differ from a right one by a character.
    pub(crate) fn near_misses(&self) -> Vec<String> {
        let stranger = PlainKey::mint(Environment::Live, [0x5a; 32]).reveal().to_owned();
        let right = &self.secrets[0];
        let changed = |at: usize| {
            let other = if right.as_bytes()[at] == b'a' { "b" } else { "a" };
            format!("{}{other}{}", &right[..at], &right[at + 1..])
        };
        vec![stranger, changed(0), changed(20), changed(right.len() - 1)]
    }

    /// Writes `directory` as a proxy leaves it that has all of these keys. Every window of every account
    /// and key has a limit, so that each request is decided in full.
    pub(crate) async fn write_snapshot(&self, directory: &Path) -> Result<(), String> {
        std::fs::create_dir_all(directory).map_err(|e| e.to_string())?;
        let disk =
            Disk::open(directory, &directory.join("snapshot.key"), Arc::new(Snapshot::new())).map_err(|e| e.to_string())?;
        let credentials = self.secrets.len() as u64 + 1;
        disk.mode(v1::HeartbeatReply { sequence: 0, lease_ms: 10_000, strict: false }).await;
        disk.begin(v1::SnapshotBegin { revision: 1, store_id: STORE.to_vec(), credentials }).await;
        disk.chunk(self.plans_and_accounts()).await;
        for (chunk, secrets) in self.secrets.chunks(CHUNK_CREDENTIALS_MAX).enumerate() {
            let first = chunk * CHUNK_CREDENTIALS_MAX;
            let credentials = secrets.iter().enumerate().map(|(n, secret)| self.credential(first + n, secret)).collect();
            disk.chunk(v1::Changes { credentials, ..Default::default() }).await;
        }
        let three = v1::Limits { per_day: Some(EXHAUSTIBLE_DAY), ..roomy() };
        let exhaustible = v1::Credential { limits: Some(three), ..self.credential(self.secrets.len(), &self.exhaustible) };
        disk.chunk(v1::Changes { credentials: vec![exhaustible], ..Default::default() }).await;
        if let Some(url) = &self.webhook {
            disk.chunk(v1::Changes { webhooks: vec![webhook(url)], ..Default::default() }).await;
        }
        disk.end(v1::SnapshotEnd { revision: 1 }).await;
        match disk.settle().await {
            Some(on_disk) if on_disk.revision == 1 && on_disk.available => Ok(()),
            other => Err(format!("the snapshot is not on disk: {other:?}")),
        }
    }

    /// Writes the ledger of a gateway that has served each of these keys once, in no order: what a customer
    /// base looks like the day after. Without it most requests of a run are their key's first ever.
    pub(crate) fn write_ledger(&self, directory: &Path) -> Result<(), String> {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?.as_millis() as u64;
        let now = Now::at(now_ms);
        let ledger = Ledger::open(directory, &now).map_err(|e| e.to_string())?.ledger;
        let mut order: Vec<usize> = (0..self.secrets.len()).collect();
        order.shuffle(&mut StdRng::seed_from_u64(1));
        let (unlimited, from) = (&Limits::UNLIMITED, IpAddr::from([127, 0, 0, 1]));
        for n in order {
            let account = ledger.slot(&Subject::Account(account(n / self.keys_an_account))).map_err(|e| e.to_string())?;
            let key = ledger.slot(&Subject::Key(key(n))).map_err(|e| e.to_string())?;
            let admitted = ledger.admit(&now, RequestId::new(now_ms, n as u128), from, (account, unlimited), (key, unlimited));
            drop(admitted.map_err(|refused| format!("a key without limits was refused: {refused:?}"))?.finish(200, 1));
        }
        ledger.flush().map_err(|e| e.to_string())
    }

    fn plans_and_accounts(&self) -> v1::Changes {
        let accounts = (0..=self.secrets.len() / self.keys_an_account)
            .map(|n| v1::Account {
                id: account(n).to_vec(),
                plan: "bench".to_owned(),
                suspended: false,
                ..v1::Account::default()
            })
            .collect();
        let plans = vec![v1::Plan { name: "bench".to_owned(), limits: Some(self.account_limits), ..Default::default() }];
        v1::Changes { plans, accounts, ..Default::default() }
    }

    fn credential(&self, n: usize, secret: &str) -> v1::Credential {
        let limits = self.limits.get(n).copied().unwrap_or_else(roomy);
        v1::Credential { account_id: account(n / self.keys_an_account).to_vec(), ..credential(n, secret, limits) }
    }
}

/// Limits in every window that no bench reaches.
pub(crate) fn roomy() -> v1::Limits {
    v1::Limits {
        per_second: Some(5_000_000),
        per_day: Some(1_000_000_000_000),
        per_month: Some(10_000_000_000_000),
        concurrent: Some(1_000_000),
        overage: false,
    }
}

/// What the webhook's messages are signed by.
pub(crate) const HMAC_KEY: [u8; 32] = [7; 32];

pub(crate) fn webhook_id() -> WebhookId {
    WebhookId::new(1_700_000_000_000, 1 << 64)
}

fn webhook(url: &str) -> v1::Webhook {
    let signing = vec![v1::WebhookSecret { hmac_key: HMAC_KEY.to_vec(), ..Default::default() }];
    v1::Webhook {
        id: webhook_id().to_vec(),
        account_id: account(0).to_vec(),
        url: url.to_owned(),
        active: true,
        brand: "Clearway".to_owned(),
        secrets: Some(v1::WebhookSecrets { signing, ..Default::default() }),
        ..Default::default()
    }
}

/// Of the first hundred keys, of the next hundred, and so on.
pub(crate) fn account(n: usize) -> AccountId {
    AccountId::new(1_700_000_000_000, (n as u128) << 64)
}

fn key(n: usize) -> KeyId {
    KeyId::new(1_700_000_000_000, (n as u128) << 64)
}

/// A key that no request comes with, of the first account; `n` says which.
pub(crate) fn unused_credential(n: u64) -> v1::Credential {
    let id = KeyId::new(1_600_000_000_000, u128::from(n % 1_000) << 64);
    let mut hash = [0xee; 32];
    hash[..8].copy_from_slice(&(n % 1_000).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let limits = v1::Limits { per_day: Some(n.max(1)), ..roomy() };
    v1::Credential { hash: hash.to_vec(), key_id: id.to_vec(), ..credential(0, "", limits) }
}

fn credential(n: usize, secret: &str, limits: v1::Limits) -> v1::Credential {
    let hash = PlainKey::parse(secret.as_bytes()).map(|key| key.hash().as_bytes().to_vec()).unwrap_or_default();
    v1::Credential {
        hash,
        key_id: key(n).to_vec(),
        account_id: account(n / KEYS_AN_ACCOUNT).to_vec(),
        revoked: false,
        expires_at: None,
        scopes: vec!["read:bench".to_owned(), "write:webhooks".to_owned()],
        allowed_addresses: Vec::new(),
        limits: Some(limits),
        ..v1::Credential::default()
    }
}
