//! Opening a database: where it is, how its connections are set up, and bringing its schema up to date.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sqlx::{
    Connection,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};
use url::Url;

use super::{Db, Signals, copy::mark};

const SQLITE_READERS: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A PostgreSQL connection that has been idle for longer is asked whether it still lives before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(5);

pub(super) static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");
pub(super) static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

/// What a URL of PostgreSQL may have behind its question mark.
const PARAMETERS: [&str; 13] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// How the description of a migration begins that takes away what older binaries use.
const CONTRACT: &str = "contract";

/// Where the database is.
#[derive(Clone)]
pub enum Location {
    Sqlite(PathBuf),
    /// A URL; it may hold a password and is never shown.
    Postgres(String),
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Sqlite(file) => f.debug_tuple("Sqlite").field(file).finish(),
            Location::Postgres(_) => f.debug_tuple("Postgres").finish_non_exhaustive(),
        }
    }
}

/// Why the database cannot be used, in one line.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("database unreachable: {place}: {why}")]
    Unreachable { place: String, why: String },
    #[error(
        "wrong schema version: the database is at {found}, this binary knows {known} at most; start a newer clearway-control"
    )]
    SchemaNewer { found: i64, known: i64 },
    #[error("wrong schema version: migration {version} was applied with another text")]
    SchemaChanged { version: i64 },
    #[error("a copy into this database was not finished: run clearway migrate again, or make the database anew")]
    CopyUnfinished,
    #[error("the schema cannot be brought up to date: {why}")]
    Migration { why: String },
}

impl Location {
    /// `sqlite:FILE`, `postgres://…`, or empty for `fallback`.
    pub fn parse(url: &str, fallback: &Path) -> Result<Self, OpenError> {
        if url.is_empty() {
            return Ok(Location::Sqlite(fallback.to_owned()));
        }
        if let Some(file) = url.strip_prefix("sqlite:") {
            return Ok(Location::Sqlite(file.strip_prefix("//").unwrap_or(file).into()));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Location::Postgres(url.to_owned()));
        }
        let why = "the URL must begin with sqlite: or postgres://".into();
        Err(OpenError::Unreachable { place: "database_url".into(), why })
    }
}

impl Db {
    /// Connects, and brings the schema up to date. `connections` bounds the pool of PostgreSQL.
    pub async fn open(location: &Location, connections: u32) -> Result<Self, OpenError> {
        let db = match location {
            Location::Sqlite(file) => open_sqlite(file).await?,
            Location::Postgres(url) => open_postgres(url, connections).await?,
        };
        db.migrate().await?;
        Ok(db)
    }

    /// A newer process over the same database may have brought it further: what it has only added is in nobody's way.
    async fn migrate(&self) -> Result<(), OpenError> {
        let migrations = match self {
            Db::Sqlite { .. } => &SQLITE_MIGRATIONS,
            Db::Postgres { .. } => &POSTGRES_MIGRATIONS,
        };
        let mut tolerant = Migrator::with_migrations(migrations.iter().cloned().collect());
        tolerant.set_ignore_missing(true);
        let outcome = match self {
            Db::Sqlite { write, .. } => tolerant.run(write).await,
            Db::Postgres { pool, .. } => tolerant.run(pool).await,
        };
        outcome.map_err(|error| migration_fault(&error, migrations))?;
        let known = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
        let applied: Vec<(i64, String)> = self
            .query("SELECT version, description FROM _sqlx_migrations ORDER BY version")
            .all()
            .await
            .map_err(|error| OpenError::Migration { why: chain(&error) })?;
        let is_known = |version: i64| migrations.iter().any(|migration| migration.version == version);
        let added = |version: i64, description: &str| version > known && !description.starts_with(CONTRACT);
        match applied.iter().find(|(version, description)| !is_known(*version) && !added(*version, description)) {
            Some((found, _)) => Err(OpenError::SchemaNewer { found: *found, known }),
            None => Ok(()),
        }
    }
}

pub(super) fn migration_fault(error: &MigrateError, migrations: &Migrator) -> OpenError {
    let known = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    match error {
        MigrateError::Dirty(mark::VERSION) => OpenError::CopyUnfinished,
        MigrateError::VersionMissing(found) => OpenError::SchemaNewer { found: *found, known },
        MigrateError::VersionMismatch(version) => OpenError::SchemaChanged { version: *version },
        other => OpenError::Migration { why: chain(other) },
    }
}

/// `synchronous = FULL`: with NORMAL a power cut can lose the last commits, a revocation among them.
async fn open_sqlite(file: &Path) -> Result<Db, OpenError> {
    let unreachable =
        |error: sqlx::Error| OpenError::Unreachable { place: format!("sqlite:{}", file.display()), why: chain(&error) };
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("temp_store", "memory")
        .pragma("cache_size", "-65536")
        .optimize_on_close(true, 400);
    let pool = |connections| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    let write: SqlitePool = pool(1).connect_with(options.clone()).await.map_err(unreachable)?;
    let read = pool(SQLITE_READERS).connect_lazy_with(options.read_only(true).create_if_missing(false));
    Ok(Db::Sqlite { read, write, signals: Signals::default() })
}

async fn open_postgres(url: &str, connections: u32) -> Result<Db, OpenError> {
    let timeouts = [("statement_timeout", "30s"), ("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "60s")];
    let options = postgres_options(url, "clearway-control")?.options(timeouts);
    let place = format!("postgres://{}:{}", options.get_host(), options.get_port());
    let pool: PgPool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > TRUSTED_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options)
        .await
        .map_err(|error| OpenError::Unreachable { place, why: chain(&error) })?;
    Ok(Db::Postgres { pool, signals: Signals::default() })
}

/// `name` is what the server's administrator sees.
///
/// Parameters that are not known are refused, by their names alone: one that is misspelt would be ignored, and by
/// `sslmode` it is said whether anything is encrypted. With `sslrootcert` a mode of `require` is `verify-ca`, as libpq
/// has it (PostgreSQL documentation, "SSL Support", table 34.1).
pub(super) fn postgres_options(url: &str, name: &str) -> Result<PgConnectOptions, OpenError> {
    let wrong = |why: String| OpenError::Unreachable { place: "postgres".into(), why };
    let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
    let is_known = |name: &str| PARAMETERS.contains(&name) || (name.starts_with("options[") && name.ends_with(']'));
    if let Some((unknown, _)) = parsed.query_pairs().find(|(name, _)| !is_known(name)) {
        return Err(wrong(format!("the URL's parameter {unknown} is not known")));
    }
    let options = PgConnectOptions::from_str(url).map_err(|error| wrong(chain(&error)))?;
    let has_authority =
        parsed.query_pairs().any(|(name, _)| name == "sslrootcert") || std::env::var_os("PGSSLROOTCERT").is_some();
    let options = match options.get_ssl_mode() {
        PgSslMode::Require if has_authority => options.ssl_mode(PgSslMode::VerifyCa),
        _ => options,
    };
    Ok(options.application_name(name))
}

/// An error and its sources, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let source_says = source.to_string();
        // sqlx already repeats some of its sources.
        if !line.contains(&source_says) {
            line = format!("{line}: {source_says}");
        }
        next = source.source();
    }
    line.replace('\n', " ")
}
