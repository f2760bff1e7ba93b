//! Who and what there is: written into the database as the product would have stored it.

use clearway_config::{AccountId, AppId};
use clearway_control::{
    apps::{Category, Content, Number},
    catalogue::{self, Entry},
    db::{self, Db, Location, PerEngine, Tx},
    passwords,
};

pub(super) const PEOPLE: u32 = 100_000;
pub(super) const KEYS: u32 = 100_000;
/// Keys of the one account that has many; the others have one each.
pub(super) const KEYS_OF_ONE: u32 = 10_000;
pub(super) const APPS: u32 = 10_000;
/// Everybody's.
pub(super) const PASSWORD: &str = "correct horse battery bench";
/// Apps that are written at a time.
const BATCH: u32 = 500;
/// Names are made of two of these, descriptions of all that follow from an app's number.
const WORDS: [&str; 32] = [
    "invoice", "slack", "robot", "backup", "channel", "report", "shop", "stock", "label", "parcel", "mail", "calendar", "ticket",
    "survey", "coupon", "loyalty", "review", "photo", "theme", "search", "tax", "ledger", "payroll", "chat", "voice", "video",
    "webhook", "key", "audit", "alert", "chart", "export",
];

/// Whom the calls are made by.
#[derive(Debug)]
pub(super) struct People {
    /// Of whoever runs the service; the first person is an admin there.
    pub(super) platform: AccountId,
}

/// A word of the apps' names.
pub(super) fn word(nth: usize) -> &'static str {
    WORDS[nth % WORDS.len()]
}

/// The address of a person.
pub(super) fn email(nth: usize) -> String {
    format!("person{nth:07}@example.com")
}

/// The account of a person, whose only owner they are.
pub(super) fn account(nth: usize) -> String {
    format!("acct_{}{nth:07}", "0".repeat(15))
}

/// The key of that number.
pub(super) fn key(nth: usize) -> String {
    format!("key_{}{nth:07}", "0".repeat(15))
}

/// The person of that number.
pub(super) fn user(nth: usize) -> String {
    format!("user_{}{nth:07}", "0".repeat(15))
}

pub(super) fn app(nth: u32) -> AppId {
    AppId::new(u64::from(nth), u128::from(nth) << 48)
}

pub(super) async fn fill(location: &Location) -> db::Result<People> {
    let db = Db::open(location, 4).await.expect("the database that control has made");
    let platform: String = db.query("SELECT id FROM accounts WHERE platform").scalar().await?;
    let mut tx = db.begin().await?;
    people(&mut tx, &platform).await?;
    keys(&mut tx).await?;
    tx.commit().await?;
    apps(&db).await?;
    // As a database in service has done by itself after a while.
    let analyze = PerEngine { sqlite: "ANALYZE", postgres: "VACUUM ANALYZE" };
    db.query(analyze).execute().await?;
    db.close().await;
    Ok(People { platform: platform.parse().expect("an account's id") })
}

/// `INSERT`s of rows numbered by `i`, from $1 to $2: `{i}` is the number in seven digits, `{none}` an empty list, `{hash}`
/// 32 bytes of its own.
fn numbered(insert: &str) -> PerEngine {
    let numbers = "WITH RECURSIVE number (i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM number WHERE i < $2) ";
    let seven = "'000000000000000' || substr('0000000', 1, 7 - length(CAST(i AS TEXT))) || CAST(i AS TEXT)";
    let of = |none: &str, hash: &str| {
        let sql = insert.replace("{i}", seven).replace("{none}", none).replace("{hash}", hash);
        // A handful of texts, for as long as the program runs.
        &*format!("{numbers}{sql}").leak()
    };
    PerEngine {
        sqlite: of("'[]'", "randomblob(32)"),
        postgres: of("CAST('[]' AS JSONB)", "decode(md5(CAST(i AS TEXT)) || md5('of ' || CAST(i AS TEXT)), 'hex')"),
    }
}

async fn people(tx: &mut Tx, platform: &str) -> db::Result<()> {
    let (first, last) = (0_i64, i64::from(PEOPLE) - 1);
    let accounts = numbered(
        "INSERT INTO accounts (id, name, created_at) SELECT 'acct_' || {i}, 'Example ' || CAST(i AS TEXT), i + 1 FROM number",
    );
    tx.query(accounts).bind(first).bind(last).execute().await?;
    let subscriptions = numbered(
        "INSERT INTO subscriptions (id, account_id, plan, started_at) SELECT 'sub_' || {i}, 'acct_' || {i}, $3, i + 1 FROM number",
    );
    let plan: String = tx.query("SELECT name FROM plans WHERE NOT retired ORDER BY position DESC LIMIT 1").scalar().await?;
    tx.query(subscriptions).bind(first).bind(last).bind(plan).execute().await?;
    let users = numbered(
        "INSERT INTO users (id, account_id, email, name, role, password_hash, created_at, email_verified_at)
         SELECT 'user_' || {i}, 'acct_' || {i}, 'person' || substr('0000000', 1, 7 - length(CAST(i AS TEXT))) || CAST(i AS TEXT)
                || '@example.com', 'Person ' || CAST(i AS TEXT), 'owner', $3, i + 1, i + 1 FROM number",
    );
    let hash = passwords::hash(&[7; 16], PASSWORD).expect("the library's own limits are kept");
    tx.query(users).bind(first).bind(last).bind(hash).execute().await?;
    let memberships = numbered(
        "INSERT INTO memberships (account_id, user_id, role, created_at) SELECT 'acct_' || {i}, 'user_' || {i}, 'owner', i + 1 FROM number",
    );
    tx.query(memberships).bind(first).bind(last).execute().await?;
    tx.query("INSERT INTO memberships (account_id, user_id, role, created_at) VALUES ($1, $2, 'admin', 1)")
        .bind(platform.to_owned())
        .bind(user(0))
        .execute()
        .await
        .map(|_| ())
}

/// [`KEYS_OF_ONE`] of the second person's account, and one each of those after it.
async fn keys(tx: &mut Tx) -> db::Result<()> {
    let (first, last) = (0_i64, i64::from(KEYS) - 1);
    let sql = numbered(
        "INSERT INTO api_keys (id, account_id, name, environment, scopes, allowed_addresses, created_at, require_signature)
         SELECT 'key_' || {i}, CASE WHEN i < $3 THEN $4 ELSE 'acct_' || {i} END, 'Key ' || CAST(i AS TEXT), 'live', {none}, {none},
                i + 1, FALSE FROM number",
    );
    tx.query(sql).bind(first).bind(last).bind(i64::from(KEYS_OF_ONE)).bind(account(1)).execute().await?;
    let secrets = numbered(
        "INSERT INTO key_secrets (id, key_id, hash, shown, created_at)
         SELECT 'sec_' || {i}, 'key_' || {i}, {hash}, 'clw_live_' || CAST(i AS TEXT), i + 1 FROM number",
    );
    tx.query(secrets).bind(first).bind(last).execute().await.map(|_| ())
}

/// Published ones of the third person's account.
async fn apps(db: &Db) -> db::Result<()> {
    let owner: AccountId = account(2).parse().expect("an account's id");
    for first in (0..APPS).step_by(BATCH as usize) {
        let mut tx = db.begin().await?;
        for nth in first..first + BATCH {
            let (id, slug) = (app(nth), format!("app-{nth}"));
            tx.query(
                "INSERT INTO apps (id, account_id, slug, state, version, published_at, created_at, updated_at)
                 VALUES ($1, $2, $3, 'active', 1, 1, 1, 1)",
            )
            .bind(id.to_string())
            .bind(owner.to_string())
            .bind(slug.clone())
            .execute()
            .await?;
            let content = content(nth as usize);
            let entry = Entry {
                app_id: id,
                account_id: owner,
                slug: &slug,
                number: Number::FIRST,
                content: &content,
                now_ms: nth.into(),
            };
            catalogue::put(&mut tx, &entry).await?;
            catalogue::installed(&mut tx, id, i64::from(nth * 7_919 % 5_000)).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

fn content(nth: usize) -> Content {
    let more = (0..60).map(|n| word(nth / (n + 1) + n * n)).collect::<Vec<_>>().join(" ");
    Content {
        name: format!("{} {} {nth}", word(nth), word(nth / 32)),
        summary: format!("A reliable {} for your {}", word(nth / 5), word(nth / 3)),
        description: more,
        category: Category::ALL[nth % 8],
        ..Content::default()
    }
}
