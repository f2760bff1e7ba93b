//! What a search of the catalogue takes in the database, with 10,000 apps on SQLite and on PostgreSQL: by rare words and
//! by one that every app has, as somebody types, and without words. One at a time; percentiles are printed.

use std::{future::Future, time::Duration};

use clearway_config::{AccountId, AppId};
use clearway_control::{
    apps::{Category, Content, Number},
    catalogue::{self, Entry, Filter, Place, Sort, Wanted},
    db::{self, Db, Location},
    http::Paging,
};
use clearway_testkit::Cluster;
use tokio::{runtime, time::Instant};

const APPS: u32 = 10_000;
const EACH: usize = 1_000;
const WARM_UP: usize = 50;
const BATCH: u32 = 500;
/// Names are made of two of these, descriptions of all that follow from an app's number.
const WORDS: [&str; 32] = [
    "invoice", "slack", "robot", "backup", "channel", "report", "shop", "stock", "label", "parcel", "mail", "calendar", "ticket",
    "survey", "coupon", "loyalty", "review", "photo", "theme", "search", "tax", "ledger", "payroll", "chat", "voice", "video",
    "webhook", "key", "audit", "alert", "chart", "export",
];

fn main() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sqlite = Location::Sqlite(directory.path().join("control.db"));
    let postgres = Location::Postgres(Cluster::shared().create("catalogue_bench"));
    for location in [sqlite, postgres] {
        runtime.block_on(measure(&location)).expect("a database that works");
    }
}

async fn measure(location: &Location) -> db::Result<()> {
    let db = Db::open(location, 4).await.expect("a database that opens");
    let began = Instant::now();
    seed(&db).await?;
    if db.engine() == "postgres" {
        db.query("ANALYZE app_listings").execute().await?;
    }
    say(&format!("{}, {APPS} apps (written in {:.1} s)", db.engine(), began.elapsed().as_secs_f64()));
    let paging = Paging::<Place> { limit: 20, offset: 0, cursor: None };
    let wanted = |nth: usize| Wanted::read(&format!("{} {}", word(nth * 7), &word(nth * 13)[..2])).expect("two words");
    let every = Wanted::read("reliable").expect("a word");
    let searched =
        async |wanted: &Wanted, sort| catalogue::search(&db, wanted, Filter::default(), sort, paging).await.map(|_| ());
    time("two words", async |nth| searched(&wanted(nth), Sort::Relevance).await).await?;
    time("two words, popular", async |nth| searched(&wanted(nth), Sort::Popular).await).await?;
    time("a word of every app", async |_| searched(&every, Sort::Relevance).await).await?;
    time("suggestions, a letter", async |nth| {
        let typed = Wanted::read(&word(nth)[..1]).expect("a letter");
        catalogue::suggest(&db, &typed).await.map(|_| ())
    })
    .await?;
    time("suggestions, three letters", async |nth| {
        let typed = Wanted::read(&word(nth)[..3]).expect("letters");
        catalogue::suggest(&db, &typed).await.map(|_| ())
    })
    .await?;
    time("trending, of a category", async |nth| {
        let filter = Filter { category: Some(Category::ALL[nth % 8]), ..Filter::default() };
        catalogue::browse(&db, filter, Sort::Trending, paging).await.map(|_| ())
    })
    .await?;
    db.close().await;
    Ok(())
}

async fn seed(db: &Db) -> db::Result<()> {
    let account = AccountId::new(1, 1);
    for first in (0..APPS).step_by(BATCH as usize) {
        let mut tx = db.begin().await?;
        if first == 0 {
            tx.query("INSERT INTO accounts (id, name, created_at) VALUES ($1, 'Example Ltd', 1)")
                .bind(account.to_string())
                .execute()
                .await?;
        }
        for nth in first..first + BATCH {
            let (id, slug) = (AppId::new(u64::from(nth), u128::from(nth) << 48), format!("app-{nth}"));
            tx.query(
                "INSERT INTO apps (id, account_id, slug, state, version, created_at, updated_at)
                 VALUES ($1, $2, $3, 'active', 1, 1, 1)",
            )
            .bind(id.to_string())
            .bind(account.to_string())
            .bind(slug.clone())
            .execute()
            .await?;
            let content = content(nth as usize);
            let entry = Entry {
                app_id: id,
                account_id: account,
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

fn word(nth: usize) -> &'static str {
    WORDS[nth % WORDS.len()]
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

async fn time<F: Future<Output = db::Result<()>>>(what: &str, one: impl Fn(usize) -> F) -> db::Result<()> {
    for nth in 0..WARM_UP {
        one(nth).await?;
    }
    let mut took = Vec::with_capacity(EACH);
    for nth in 0..EACH {
        let began = Instant::now();
        one(nth).await?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let at = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    say(&format!("  {what:<28} p50 {:>8.2} ms   p99 {:>8.2} ms", ms(at(50)), ms(at(99))));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn say(line: &str) {
    println!("{line}");
}
