//! The connection: made with the first call, shared by all of them, and made anew when it fails.
//!
//! While a server is away, calls fail at once, without waiting for it: one attempt after another is made by whoever calls
//! when its time has come, at ever longer distances.

use std::{
    fmt, fs,
    path::Path,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisError, ServerErrorKind,
    TlsCertificates, TlsMode, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    cmd,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};
use clearway_config::settings::process::RedisSettings;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use super::{super::StoreError, OpenError};

/// Between attempts to connect, at first; doubled with every one that fails.
const BACK_OFF: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// Calls in a row that must fail before a cluster's connection is made anew: one of its servers may be away, and it sees
/// to that by itself.
const CLUSTER_FAILURES_MAX: u32 = 8;
/// How often a cluster's call follows a redirection.
const CLUSTER_RETRIES: u32 = 3;

/// Where Redis is.
pub(super) enum Place {
    One(Box<Client>),
    Sentinels(Box<Sentinels>),
    Cluster(Box<ClusterClient>),
}

/// Whom to ask which server is the master.
pub(super) struct Sentinels {
    addresses: Vec<ConnectionAddr>,
    master: String,
    is_tls: bool,
    db: i64,
    user: Option<String>,
    password: Option<Zeroizing<String>>,
    sentinel_user: Option<String>,
    sentinel_password: Option<Zeroizing<String>>,
    certificates: Option<TlsCertificates>,
}

impl Place {
    pub(super) fn of(settings: &RedisSettings) -> Result<Self, OpenError> {
        let password = settings.password_file.as_deref().map(read_password).transpose()?;
        let user = Some(settings.user.clone()).filter(|user| !user.is_empty());
        let certificates = settings.ca_file.as_deref().map(read).transpose()?;
        let certificates = certificates.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) });
        let all = settings.sentinels.iter().chain(&settings.cluster).chain(Some(&settings.url));
        if all.clone().any(|url| url.starts_with("rediss:")) {
            // Another part of the process may have done so already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        if !settings.sentinels.is_empty() {
            let sentinel_password = settings.sentinel_password_file.as_deref().map(read_password).transpose()?;
            let sentinel_user = Some(settings.sentinel_user.clone()).filter(|user| !user.is_empty());
            return Sentinels::of(settings, [user, sentinel_user], [password, sentinel_password], certificates);
        }
        if !settings.cluster.is_empty() {
            let mut builder = ClusterClientBuilder::new(settings.cluster.iter().map(String::as_str))
                .connection_timeout(settings.connect_timeout)
                .response_timeout(settings.call_timeout)
                .retries(CLUSTER_RETRIES)
                .min_retry_wait(5)
                .max_retry_wait(50);
            if let Some(user) = &user {
                builder = builder.username(user);
            }
            if let Some(password) = &password {
                builder = builder.password(password.as_str());
            }
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            return Ok(Place::Cluster(Box::new(builder.build().map_err(OpenError::Settings)?)));
        }
        if settings.url.is_empty() {
            return Err(OpenError::NotSet);
        }
        let info = settings.url.as_str().into_connection_info().map_err(OpenError::Settings)?;
        let mut login = info.redis_settings().clone();
        if let Some(user) = &user {
            login = login.set_username(user);
        }
        if let Some(password) = &password {
            login = login.set_password(password.as_str());
        }
        let info = info.set_redis_settings(login);
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(info, certificates),
            None => Client::open(info),
        };
        Ok(Place::One(Box::new(client.map_err(OpenError::Settings)?)))
    }
}

impl Sentinels {
    fn of(
        settings: &RedisSettings,
        [user, sentinel_user]: [Option<String>; 2],
        [password, sentinel_password]: [Option<Zeroizing<String>>; 2],
        certificates: Option<TlsCertificates>,
    ) -> Result<Place, OpenError> {
        let infos = settings.sentinels.iter().map(|url| url.as_str().into_connection_info());
        let infos: Vec<_> = infos.collect::<Result<_, _>>().map_err(OpenError::Settings)?;
        let sentinels = Self {
            is_tls: infos.iter().any(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. })),
            db: infos.first().map_or(0, |info| info.redis_settings().db()),
            addresses: infos.iter().map(|info| info.addr().clone()).collect(),
            master: settings.master.clone(),
            user,
            password,
            sentinel_user,
            sentinel_password,
            certificates,
        };
        // What it would say of these settings it says now.
        sentinels.builder().and_then(SentinelClientBuilder::build).map_err(OpenError::Settings)?;
        Ok(Place::Sentinels(Box::new(sentinels)))
    }

    fn builder(&self) -> Result<SentinelClientBuilder, RedisError> {
        let mut builder = SentinelClientBuilder::new(self.addresses.clone(), &self.master, SentinelServerType::Master)?
            .set_client_to_redis_db(self.db);
        if let Some(user) = &self.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = &self.password {
            builder = builder.set_client_to_redis_password(password.as_str());
        }
        if let Some(user) = &self.sentinel_user {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = &self.sentinel_password {
            builder = builder.set_client_to_sentinel_password(password.as_str());
        }
        if self.is_tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure).set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = &self.certificates {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates.clone());
        }
        Ok(builder)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, OpenError> {
    fs::read(file).map_err(|source| OpenError::File { file: file.to_owned(), source })
}

/// Without the line's end that editors leave.
fn read_password(file: &Path) -> Result<Zeroizing<String>, OpenError> {
    let text = fs::read_to_string(file).map_err(|source| OpenError::File { file: file.to_owned(), source })?;
    let text = Zeroizing::new(text);
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A connection that stands; clones share it.
#[derive(Clone)]
enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// The way to Redis.
pub(super) struct Line {
    place: Place,
    connect_timeout: Duration,
    /// With the number of the connection, so that a call that fails late does not take down the next one.
    link: Mutex<Option<(u64, Link)>>,
    numbers: AtomicU64,
    /// Calls in a row that failed on this connection.
    failures: AtomicU32,
    /// Held while connecting.
    attempts: tokio::sync::Mutex<Attempts>,
}

#[derive(Debug, Default)]
struct Attempts {
    failed: u32,
    next_at: Option<Instant>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.place {
            Place::One(_) => "one server",
            Place::Sentinels(_) => "sentinels",
            Place::Cluster(_) => "cluster",
        };
        f.debug_struct("Line").field("place", &kind).finish_non_exhaustive()
    }
}

impl Line {
    pub(super) fn new(place: Place, connect_timeout: Duration) -> Self {
        Self {
            place,
            connect_timeout,
            link: Mutex::new(None),
            numbers: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            attempts: tokio::sync::Mutex::default(),
        }
    }

    /// The server's answer, or its error about this very call; the outer error is about the way there.
    pub(super) async fn call(&self, cmd: &Cmd, call_timeout: Duration) -> Result<Result<Value, RedisError>, StoreError> {
        let (number, mut link) = self.link().await?;
        let answered = match &mut link {
            Link::One(connection) => timeout(call_timeout, connection.req_packed_command(cmd)).await,
            Link::Cluster(connection) => timeout(call_timeout, connection.req_packed_command(cmd)).await,
        };
        let error = match answered {
            Err(_) => StoreError::TimedOut,
            Ok(Ok(Value::ServerError(e))) => match of_server(RedisError::from(e)) {
                Ok(error) => error,
                Err(e) => return Ok(Err(e)),
            },
            Ok(Ok(value)) => {
                self.failures.store(0, Ordering::Relaxed);
                return Ok(Ok(value));
            }
            Ok(Err(e)) if e.is_timeout() => StoreError::TimedOut,
            Ok(Err(e)) => match of_server(e) {
                Ok(error) => error,
                Err(e) => return Ok(Err(e)),
            },
        };
        self.failed(number);
        Err(error)
    }

    fn failed(&self, number: u64) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let enough = match self.place {
            Place::One(_) | Place::Sentinels(_) => 1,
            Place::Cluster(_) => CLUSTER_FAILURES_MAX,
        };
        let mut link = self.link.lock();
        if failures >= enough && link.as_ref().is_some_and(|(newest, _)| *newest == number) {
            *link = None;
        }
    }

    async fn link(&self) -> Result<(u64, Link), StoreError> {
        if let Some(link) = self.link.lock().clone() {
            return Ok(link);
        }
        let mut attempts = self.attempts.lock().await;
        // Another call may have connected, or failed to, meanwhile.
        if let Some(link) = self.link.lock().clone() {
            return Ok(link);
        }
        if attempts.next_at.is_some_and(|at| Instant::now() < at) {
            return Err(StoreError::Unreachable("the last attempt has failed just now".into()));
        }
        let connected = timeout(self.connect_timeout, self.connect()).await;
        let why = match connected {
            Ok(Ok(link)) => {
                *attempts = Attempts::default();
                self.failures.store(0, Ordering::Relaxed);
                let number = self.numbers.fetch_add(1, Ordering::Relaxed);
                *self.link.lock() = Some((number, link.clone()));
                return Ok((number, link));
            }
            Ok(Err(e)) => e.to_string(),
            Err(_) => "connecting took too long".to_owned(),
        };
        let back_off = BACK_OFF.saturating_mul(1 << attempts.failed.min(8)).min(BACK_OFF_MAX);
        *attempts = Attempts { failed: attempts.failed + 1, next_at: Some(Instant::now() + back_off) };
        Err(StoreError::Unreachable(why))
    }

    async fn connect(&self) -> Result<Link, RedisError> {
        // Time-outs are kept here.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.connect_timeout));
        let mut connection = match &self.place {
            Place::One(client) => client.get_multiplexed_async_connection_with_config(&config).await?,
            Place::Sentinels(sentinels) => sentinels.builder()?.build()?.get_async_connection_with_config(&config).await?,
            Place::Cluster(client) => return client.get_async_connection().await.map(Link::Cluster),
        };
        warn_of_eviction(&mut connection).await;
        Ok(Link::One(connection))
    }
}

/// The server's errors that are about itself, not about the call: the call was not carried out, and another server, or this
/// one in a while, would. Others are given back.
fn of_server(error: RedisError) -> Result<StoreError, RedisError> {
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
            | ServerErrorKind::MasterDown
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => Ok(StoreError::Unreachable(error.to_string())),
        ErrorKind::Server(_) => Err(error),
        _ => Ok(StoreError::Broken(error.to_string())),
    }
}

/// A count that is evicted is a budget that opens again. A server that does not say how it is set is believed.
async fn warn_of_eviction(connection: &mut MultiplexedConnection) {
    let Ok(memory) = cmd("INFO").arg("memory").query_async::<String>(connection).await else { return };
    let field = |name: &str| memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let policy = field("maxmemory_policy").unwrap_or("noeviction");
    if policy != "noeviction" && field("maxmemory") != Some("0") {
        tracing::warn!(redis.maxmemory_policy = policy, "redis may evict quota counts: set maxmemory-policy to noeviction");
    }
}
