//! Every statement of sync: `changes`, `proxies` and the store's own id.

use clearway_config::ProxyId;

use super::{ChangeKind, Revision, keeper::Note};
use crate::db::{self, Db, PerEngine, Tx};

/// Notes that a row changed. Call it last in the transaction: from here to the commit nobody else can
/// record, so that revisions are in commit order.
pub async fn record(tx: &mut Tx, kind: ChangeKind, id: &str, now_ms: i64) -> db::Result<Revision> {
    // A statement of its own, so that the one after it sees what the lock's last holder committed.
    // SQLite's one writer already is that lock.
    tx.query(PerEngine { sqlite: "SELECT 1", postgres: "SELECT pg_advisory_xact_lock(4991386027318862434)" }).execute().await?;
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

#[derive(Debug, sqlx::FromRow)]
pub(super) struct Proxy {
    pub(super) id: String,
    pub(super) revision: i64,
    pub(super) lease_ms: Option<i64>,
    pub(super) last_seen_at: i64,
    pub(super) refused: String,
}

/// Every proxy that may still hold a lease. Not paged: a fleet is small, and all of it counts.
pub(super) async fn proxies_seen_since(db: &Db, last_seen_at: i64) -> db::Result<Vec<Proxy>> {
    db.query(
        "SELECT id, revision, lease_ms, last_seen_at, refused
         FROM proxies
         WHERE last_seen_at >= $1
         LIMIT 100000",
    )
    .bind(last_seen_at)
    .all()
    .await
}

/// Must be committed before the proxy is granted its first lease: a later process then knows to wait for it.
/// `serves_without_lease` is remembered at once; that it no longer does, only when it has said so.
pub(super) async fn register(
    db: &Db,
    id: &ProxyId,
    (name, version): (&str, &str),
    revision: i64,
    serves_without_lease: bool,
    now_ms: i64,
) -> db::Result<()> {
    db.query(
        "INSERT INTO proxies (id, name, version, revision, lease_ms, created_at, last_seen_at)
         VALUES ($1, $2, $3, $4, NULL, $6, $6)
         ON CONFLICT (id) DO UPDATE SET
             name = excluded.name,
             version = excluded.version,
             revision = excluded.revision,
             lease_ms = CASE WHEN $5 THEN NULL ELSE proxies.lease_ms END,
             last_seen_at = excluded.last_seen_at",
    )
    .bind(id.to_string())
    .bind(name.to_owned())
    .bind(version.to_owned())
    .bind(revision)
    .bind(serves_without_lease)
    .bind(now_ms)
    .execute()
    .await
    .map(|_| ())
}

/// How far a proxy is known to have come.
pub(super) async fn note_proxy(tx: &mut Tx, note: &Note) -> db::Result<()> {
    tx.query(
        "UPDATE proxies
         SET revision = $2, lease_ms = $3, last_seen_at = $4, refused = $5
         WHERE id = $1",
    )
    .bind(note.proxy.to_string())
    .bind(note.revision)
    .bind(note.lease_ms)
    .bind(note.seen_at)
    .bind(note.refused.clone())
    .execute()
    .await
    .map(|_| ())
}
