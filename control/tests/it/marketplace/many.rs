//! What is found among more apps than are looked at first.

use clearway_config::{AccountId, AppId};
use clearway_control::{
    apps::{Category, Content, Number},
    catalogue::{self, Entry},
};

use super::{DEVELOPER, names};
use crate::app::{TestApp, on_both};

const APPS: usize = 700;

/// Every third is an alpha by name, every fourth a beta by its summary; all are gammas, and few are deltas.
fn content(nth: usize) -> Content {
    let when = |every: usize, word: &'static str| if nth.is_multiple_of(every) { word } else { "thing" };
    Content {
        name: format!("{} {nth}", when(3, "Alpha")),
        summary: format!("A {} for an {}", when(4, "beta"), when(5, "alpha")),
        description: format!("gamma {} {}", when(97, "delta"), when(7, "beta")),
        category: Category::ALL[nth % 2],
        ..Content::default()
    }
}

/// No two have as many.
fn installs(nth: usize) -> usize {
    nth * 7_919 % 5_003
}

/// How well an app matches, where it does: by its name, its summary, or all that is said of it.
fn tier(nth: usize, words: &[&str]) -> Option<usize> {
    let Content { name, summary, description, .. } = content(nth);
    let parts = [name.clone(), format!("{name} {summary}"), format!("{name} {summary} {description}")];
    let holds = |text: &str| words.iter().all(|word| text.to_lowercase().split(' ').any(|of| of.starts_with(word)));
    parts.iter().position(|part| holds(part)).map(|place| parts.len() - place)
}

fn expected(query: &str, key: impl Fn(usize, usize) -> (usize, usize), category: Option<usize>) -> Vec<String> {
    let words: Vec<&str> = query.split('+').collect();
    let mut found: Vec<_> = (0..APPS)
        .filter(|nth| category.is_none_or(|wanted| nth % 2 == wanted))
        .filter_map(|nth| Some((key(tier(nth, &words)?, nth), nth)))
        .collect();
    found.sort_unstable();
    found.iter().rev().map(|(_, nth)| content(*nth).name).collect()
}

async fn found(app: &TestApp, query: &str) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.anyone().get(&format!("/api/v1/apps?q={query}&limit=90{cursor}")).await;
        found.extend(names(&page).into_iter().map(str::to_owned));
        match page.data()["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test]
async fn every_app_that_matches_is_found_once_in_its_order_however_many_there_are() {
    on_both(async |app: TestApp| {
        let owner: AccountId = app.account(DEVELOPER).await.0.parse().unwrap();
        let mut tx = app.database.db.begin().await.unwrap();
        for nth in 0..APPS {
            let (id, slug, content) = (AppId::new(nth as u64, (nth as u128) << 48), format!("app-{nth}"), content(nth));
            tx.query(
                "INSERT INTO apps (id, account_id, slug, state, version, published_at, created_at, updated_at)
                 VALUES ($1, $2, $3, 'active', 1, 1, 1, 1)",
            )
            .bind(id.to_string())
            .bind(owner.to_string())
            .bind(slug.clone())
            .execute()
            .await
            .unwrap();
            let (content, now_ms) = (&content, nth as i64);
            let entry = Entry { app_id: id, account_id: owner, slug: &slug, number: Number::FIRST, content, now_ms };
            catalogue::put(&mut tx, &entry).await.unwrap();
            catalogue::installed(&mut tx, id, installs(nth) as i64).await.unwrap();
        }
        tx.commit().await.unwrap();
        for words in ["alpha", "beta", "gamma", "delta", "alpha+be", "thing", "alpha+delta", "nothing"] {
            assert_eq!(found(&app, words).await, expected(words, |tier, nth| (tier, installs(nth)), None), "{words}");
            let by_age = expected(words, |_, nth| (nth, 0), Some(1));
            let category = Category::ALL[1].as_str();
            assert_eq!(found(&app, &format!("{words}&sort=newest&category={category}")).await, by_age, "{words}, the newest");
        }
        let page = app.anyone().get("/api/v1/apps?q=alpha&limit=20&offset=240").await;
        assert_eq!(names(&page), expected("alpha", |tier, nth| (tier, installs(nth)), None)[240..260]);
    })
    .await;
}
