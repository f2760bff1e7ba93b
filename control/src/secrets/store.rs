//! Every statement on data keys.

use sqlx::FromRow;

use crate::db::{self, On, Tx};

/// A data key as it is stored.
#[derive(Debug)]
pub(super) struct Wrapped {
    pub(super) id: u32,
    pub(super) wrapped: Vec<u8>,
}

#[derive(Debug, FromRow)]
struct Row {
    id: i64,
    wrapped: Vec<u8>,
}

/// By id; few, because nothing but a start on an empty table makes one.
pub(super) async fn all<'c>(on: impl On<'c>) -> db::Result<Vec<Wrapped>> {
    let rows = on.query("SELECT id, wrapped FROM data_keys ORDER BY id LIMIT 1000").all::<Row>().await?;
    let wrapped = |Row { id, wrapped }: Row| match u32::try_from(id) {
        Ok(id) => Ok(Wrapped { id, wrapped }),
        Err(_) => Err(db::undecodable("data_keys.id", "out of range")),
    };
    rows.into_iter().map(wrapped).collect()
}

pub(super) async fn insert<'c>(on: impl On<'c>, id: u32, wrapped: Vec<u8>, now_ms: i64) -> db::Result<()> {
    on.query("INSERT INTO data_keys (id, wrapped, created_at) VALUES ($1, $2, $3)")
        .bind(i64::from(id))
        .bind(wrapped)
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

/// Whether it was still wrapped as in `before`.
pub(super) async fn replace(tx: &mut Tx, before: &Wrapped, wrapped: Vec<u8>) -> db::Result<bool> {
    let changed = tx
        .query("UPDATE data_keys SET wrapped = $3 WHERE id = $1 AND wrapped = $2")
        .bind(i64::from(before.id))
        .bind(before.wrapped.clone())
        .bind(wrapped)
        .execute()
        .await?;
    Ok(changed == 1)
}
