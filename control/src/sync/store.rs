//! Every statement of sync: `changes`, `proxies` and the store's own id.

use clearway_config::ProxyId;

use super::{ChangeKind, Revision, keeper::Note};
use crate::db::{self, Db, PerEngine, Tx};

/// Notes that a row changed. Call it last in the transaction: from here to the commit nobody else can
/// record, so that revisions are in commit order.
pub async fn record(tx: &mut Tx, kind: ChangeKind, id: &str, now_ms: i64) -> db::Result<Revision> {
    // A statement of its own, so that the one after it sees what the lock's last holder committed.
    // SQLite's one writer already is that lock.
    // Other processes hear of it with the commit.
    tx.query(PerEngine {
        sqlite: "SELECT 1",
        postgres: "SELECT pg_advisory_xact_lock(4991386027318862434), pg_notify('clearway_changes', '')",
    })
    .execute()
    .await?;
    // Trimming always leaves the last row, so that a number is never given twice.
    let revision = tx
        .query(
            "INSERT INTO changes (revision, kind, subject_id, created_at)
             SELECT COALESCE(MAX(revision), 0) + 1, $1, $2, $3
             FROM changes
             RETURNING revision",
        )
        .bind(kind.as_str().to_owned())
        .bind(id.to_owned())
        .bind(now_ms)
        .scalar()
        .await?;
    Ok(Revision(revision))
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct Change {
    pub(super) revision: i64,
    pub(super) kind: String,
    pub(super) subject_id: String,
}

/// The next changes in commit order; there are no gaps between revisions.
pub(super) async fn changes_after(db: &Db, after: i64, limit: usize) -> db::Result<Vec<Change>> {
    db.query(
        "SELECT revision, kind, subject_id
         FROM changes
         WHERE revision > $1
         ORDER BY revision
         LIMIT $2",
    )
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .all()
    .await
}

/// 0 before the first change.
pub(super) async fn last_revision(db: &Db) -> db::Result<i64> {
    db.query("SELECT CAST(COALESCE(MAX(revision), 0) AS BIGINT) FROM changes").scalar().await
}

/// The oldest change still there; 0 when there is none.
pub(super) async fn first_revision(db: &Db) -> db::Result<i64> {
    db.query("SELECT CAST(COALESCE(MIN(revision), 0) AS BIGINT) FROM changes").scalar().await
}

/// The newest change made before a moment; 0 when there is none.
pub(super) async fn last_revision_before(db: &Db, created_at: i64) -> db::Result<i64> {
    db.query("SELECT CAST(COALESCE(MAX(revision), 0) AS BIGINT) FROM changes WHERE created_at < $1")
        .bind(created_at)
        .scalar()
        .await
}

/// Forgets changes through `revision`. Never call it with the last one.
pub(super) async fn trim(db: &Db, revision: i64) -> db::Result<u64> {
    db.query("DELETE FROM changes WHERE revision <= $1").bind(revision).execute().await
}

/// Sees to it that the revisions are numbered by something; made with the database, or now.
pub(super) async fn number_revisions(db: &Db, fresh: &str, now_ms: i64) -> db::Result<()> {
    let mut tx = db.begin().await?;
    // Two processes that start at once must not both find none.
    tx.query(PerEngine { sqlite: "SELECT 1", postgres: "SELECT pg_advisory_xact_lock(4991386027318862435)" }).execute().await?;
    tx.query(
        "INSERT INTO databases (id, created_at)
         SELECT $1, $2
         WHERE NOT EXISTS (SELECT 1 FROM databases)",
    )
    .bind(fresh.to_owned())
    .bind(now_ms)
    .execute()
    .await?;
    tx.commit().await
}

/// Which history the revisions are of: under another name the same number is another change.
///
/// A backup that was restored goes on from an older revision under the id that the database had. PostgreSQL knows it
/// for another one all the same: by the cluster that it is in, the timeline (a new one after every recovery and
/// failover), the database, or the table, which is made anew where all of them are the same.
pub(super) async fn history(db: &Db) -> db::Result<String> {
    db.query(PerEngine {
        sqlite: "SELECT id FROM databases",
        postgres: "SELECT concat_ws('-', databases.id, to_hex(cluster.system_identifier),
                        substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), this.oid, CAST(CAST('databases' AS regclass) AS oid))
                   FROM databases, pg_control_system() cluster, pg_database this
                   WHERE this.datname = current_database()",
    })
    .scalar()
    .await
}

/// Another name for the history, unless another process has given it one since it was `found`.
pub(super) async fn rename_history(db: &Db, found: &str, fresh: &str) -> db::Result<()> {
    let id = found.split('-').next().unwrap_or_default().to_owned();
    db.query("UPDATE databases SET id = $1 WHERE id = $2").bind(fresh.to_owned()).bind(id).execute().await.map(|_| ())
}

/// One row of `proxies`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Proxy {
    pub(super) id: String,
    pub(super) revision: i64,
    pub(super) lease_ms: Option<i64>,
    pub(super) last_seen_at: i64,
    /// Since then, by the database's clock: those of control processes' machines may differ.
    pub(super) ago_ms: i64,
    pub(super) refused: String,
    pub(super) epoch: i64,
    pub(super) beats: i64,
}

/// Proxies read at once at most.
pub(super) const PROXIES_MAX: usize = 100_000;

/// Every proxy that is not forgotten. Not paged: a fleet is small, and all of it counts.
pub(super) async fn proxies(db: &Db) -> db::Result<Vec<Proxy>> {
    db.query(PerEngine {
        sqlite: "SELECT id, revision, lease_ms, last_seen_at, refused, epoch, beats,
                        CAST(unixepoch('subsec') * 1000 AS INTEGER) - last_seen_at AS ago_ms
                 FROM proxies
                 LIMIT 100000",
        postgres: "SELECT id, revision, lease_ms, last_seen_at, refused, epoch, beats,
                          CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) - last_seen_at AS ago_ms
                   FROM proxies
                   LIMIT 100000",
    })
    .all()
    .await
}

/// Who registers a proxy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Registering<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    /// The control process.
    pub(super) control: &'a str,
}

/// Must be committed before the proxy is granted its first lease: every other process then knows to wait for it.
/// `serves_without_lease` is remembered at once; that it no longer does, only when it has said so. Its epoch: who
/// registered it with a lower one no longer holds it.
pub(super) async fn register(
    db: &Db,
    id: &ProxyId,
    Registering { name, version, control }: Registering<'_>,
    revision: i64,
    serves_without_lease: bool,
) -> db::Result<Kept> {
    // A row that is made anew begins above whatever a forgotten one came to.
    db.query(PerEngine {
        sqlite: "INSERT INTO proxies (id, name, version, revision, lease_ms, created_at, last_seen_at, control, epoch, beats)
                 VALUES ($1, $2, $3, $4, NULL, CAST(unixepoch('subsec') * 1000 AS INTEGER),
                         CAST(unixepoch('subsec') * 1000 AS INTEGER), $6, CAST(unixepoch('subsec') * 1000 AS INTEGER), 1)
                 ON CONFLICT (id) DO UPDATE SET
                     name = excluded.name,
                     version = excluded.version,
                     revision = excluded.revision,
                     lease_ms = CASE WHEN $5 THEN NULL ELSE proxies.lease_ms END,
                     last_seen_at = excluded.last_seen_at,
                     control = excluded.control,
                     epoch = proxies.epoch + 1,
                     beats = proxies.beats + 1
                 RETURNING id, epoch, beats, last_seen_at, lease_ms",
        postgres: "INSERT INTO proxies (id, name, version, revision, lease_ms, created_at, last_seen_at, control, epoch, beats)
                   VALUES ($1, $2, $3, $4, NULL, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT),
                           CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT), $6,
                           CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT), 1)
                   ON CONFLICT (id) DO UPDATE SET
                       name = excluded.name,
                       version = excluded.version,
                       revision = excluded.revision,
                       lease_ms = CASE WHEN $5 THEN NULL ELSE proxies.lease_ms END,
                       last_seen_at = excluded.last_seen_at,
                       control = excluded.control,
                       epoch = proxies.epoch + 1,
                       beats = proxies.beats + 1
                   RETURNING id, epoch, beats, last_seen_at, lease_ms",
    })
    .bind(id.to_string())
    .bind(name.to_owned())
    .bind(version.to_owned())
    .bind(revision)
    .bind(serves_without_lease)
    .bind(control.to_owned())
    .one()
    .await
}

/// What a row came to by what was written.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) epoch: i64,
    pub(super) beats: i64,
    pub(super) last_seen_at: i64,
    pub(super) lease_ms: Option<i64>,
}

/// Has other processes look at how far proxies have come, once this is committed.
pub(super) async fn tell(tx: &mut Tx) -> db::Result<()> {
    tx.query(PerEngine { sqlite: "SELECT 1", postgres: "SELECT pg_notify('clearway_acks', '')" }).execute().await.map(|_| ())
}

/// [`tell`], and the commit need not be on PostgreSQL's disk: for acknowledgements, which a crash may make older than they are.
pub(super) async fn tell_lightly(tx: &mut Tx) -> db::Result<()> {
    tx.query(PerEngine {
        sqlite: "SELECT 1",
        postgres: "SELECT set_config('synchronous_commit', 'off', TRUE), pg_notify('clearway_acks', '')",
    })
    .execute()
    .await
    .map(|_| ())
}

/// How far proxies are known to have come. Only of those whose epoch is still the same, which are the rows returned.
pub(super) async fn note(tx: &mut Tx, notes: &[Note]) -> db::Result<Vec<Kept>> {
    tx.query(PerEngine {
        sqlite: "UPDATE proxies
                 SET revision = n.revision, lease_ms = n.lease_ms, refused = n.refused, report = n.report,
                     last_seen_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) - n.ago_ms, beats = beats + 1
                 FROM (SELECT value ->> 'id' AS id, value ->> 'epoch' AS epoch, value ->> 'revision' AS revision,
                              value ->> 'lease_ms' AS lease_ms, value ->> 'ago_ms' AS ago_ms,
                              value ->> 'refused' AS refused, value ->> 'report' AS report
                       FROM json_each($1)) n
                 WHERE proxies.id = n.id AND proxies.epoch = n.epoch
                 RETURNING id, epoch, beats, last_seen_at, lease_ms",
        postgres: "UPDATE proxies
                   SET revision = n.revision, lease_ms = n.lease_ms, refused = n.refused, report = n.report,
                       last_seen_at = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) - n.ago_ms,
                       beats = beats + 1
                   FROM json_to_recordset(CAST($1 AS JSON)) AS n (id TEXT, epoch BIGINT, revision BIGINT, lease_ms BIGINT,
                        ago_ms BIGINT, refused TEXT, report TEXT)
                   WHERE proxies.id = n.id AND proxies.epoch = n.epoch
                   RETURNING proxies.id, proxies.epoch, proxies.beats, proxies.last_seen_at, proxies.lease_ms",
    })
    .bind(serde_json::to_string(notes).expect("notes have text keys and no failing parts"))
    .all()
    .await
}
