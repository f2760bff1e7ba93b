//! Every statement on `audit_log`.

use std::collections::BTreeMap;

use clearway_config::{AccountId, AuditId, UserId};
use sqlx::{FromRow, types::Json};

use super::{Actor, Change, Changes, Event};
use crate::{
    db::{self, On, Page, Tx, cut},
    http::{Paging, Principal},
};

#[derive(Debug, FromRow)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) account_id: String,
    pub(super) at: i64,
    pub(super) actor_kind: String,
    pub(super) actor_id: String,
    pub(super) address: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) action: String,
    pub(super) object_kind: String,
    pub(super) object_id: String,
    pub(super) changes: Json<BTreeMap<String, Change>>,
    pub(super) impersonator_id: Option<String>,
    pub(super) client_id: Option<String>,
}

pub(super) async fn insert(tx: &mut Tx, id: AuditId, now_ms: i64, actor: &Actor, event: Event<'_>) -> db::Result<()> {
    let (mut impersonator, mut client) = (None, None);
    let (kind, actor_id, address, request_id) = match actor {
        Actor::Caller(caller) => {
            let (kind, id) = match caller.principal {
                Principal::Key(id) => ("key", id.to_string()),
                Principal::User { id, impersonator: admin, .. } => {
                    impersonator = admin;
                    ("user", id.to_string())
                }
                Principal::App { client_id, user_id } => {
                    client = Some(client_id);
                    user_id.map_or_else(|| ("system", client_id.to_string()), |id| ("user", id.to_string()))
                }
            };
            (kind, id, Some(caller.address), Some(caller.request_id))
        }
        Actor::User { id, address, request_id } => ("user", id.to_string(), *address, *request_id),
        Actor::System => ("system", "clearway".to_owned(), None, None),
    };
    let Changes(changes) = event.changes;
    tx.query(
        "INSERT INTO audit_log
             (id, account_id, at, actor_kind, actor_id, address, request_id, action, object_kind, object_id, changes,
              impersonator_id, client_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(id.to_string())
    .bind(event.account_id.to_string())
    .bind(now_ms)
    .bind(kind)
    .bind(actor_id)
    .bind(address.map(|address| address.to_string()))
    .bind(request_id.map(|id| id.to_string()))
    .bind(event.action)
    .bind(event.object_kind)
    .bind(event.object_id.to_owned())
    .bind(Json(changes))
    .bind(impersonator.map(|id| id.to_string()))
    .bind(client.map(|id| id.to_string()))
    .execute()
    .await
    .map(|_| ())
}

/// Newest first. `account` is NULL for an admin, who sees all of them.
pub(super) async fn list<'c>(
    on: impl On<'c>,
    account: Option<AccountId>,
    object: Option<String>,
    action: Option<String>,
    paging: Paging<AuditId>,
) -> db::Result<Page<Entry, String>> {
    let rows = on
        .query(
            "SELECT id, account_id, at, actor_kind, actor_id, address, request_id, action, object_kind, object_id, changes,
                    impersonator_id, client_id
             FROM audit_log
             WHERE (CAST($1 AS TEXT) IS NULL OR account_id = $1)
               AND (CAST($2 AS TEXT) IS NULL OR object_id = $2)
               AND (CAST($3 AS TEXT) IS NULL OR action = $3)
               AND (CAST($4 AS TEXT) IS NULL OR id < $4)
             ORDER BY id DESC
             LIMIT $5 OFFSET $6",
        )
        .bind(account.map(|id| id.to_string()))
        .bind(object)
        .bind(action)
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Entry>()
        .await?;
    Ok(cut(rows, paging.limit, |entry| entry.id.clone()))
}

/// Of which a person is the actor or the object, newest first.
pub(super) async fn of_person<'c>(on: impl On<'c>, user: UserId, max: i64) -> db::Result<Vec<Entry>> {
    on.query(
        "SELECT id, account_id, at, actor_kind, actor_id, address, request_id, action, object_kind, object_id, changes,
                impersonator_id, client_id
         FROM audit_log
         WHERE id IN (SELECT id FROM (SELECT id FROM audit_log WHERE actor_id = $1 ORDER BY id DESC LIMIT $2) acted
                      UNION
                      SELECT id FROM (SELECT id FROM audit_log WHERE object_id = $1 ORDER BY id DESC LIMIT $2) was_acted_on)
         ORDER BY id DESC
         LIMIT $2",
    )
    .bind(user.to_string())
    .bind(max)
    .all()
    .await
}
