//! Searching by words, and what to suggest while somebody types.

use super::{
    super::listing::{Listing, Place, Sort},
    browse::{Filter, page},
    matches::matches,
};
use crate::{
    db::{self, Db, Page, PerEngine, Wanted},
    http::Paging,
};

pub use super::matches::MATCHES_MAX;

/// Apps that are suggested.
pub(in super::super) const SUGGESTIONS_MAX: i64 = 10;

/// How well an app matches: by where all the words are that are wanted. Among those that match as well as each other the
/// most installed comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    Anywhere,
    Summary,
    Name,
}

/// Less than this many installations an app has.
const TIER: i64 = 1 << 40;

impl Tier {
    /// The best first.
    const ALL: [Self; 3] = [Self::Name, Self::Summary, Self::Anywhere];

    pub(super) fn key(self) -> i64 {
        self as i64 * TIER
    }

    /// What matches so well or better; PostgreSQL has an index for each tier, and the same expression.
    pub(super) fn expression(self, wanted: &Wanted, engine: &str) -> String {
        match self {
            Self::Anywhere => wanted.expression(engine, None),
            Self::Summary => wanted.expression(engine, Some("{words_name words_summary}")),
            Self::Name => wanted.expression(engine, Some("words_name")),
        }
    }
}

/// Those that are listed and hold a word for each that is wanted, which begins with it.
pub async fn search(
    db: &Db,
    wanted: &Wanted,
    filter: Filter,
    sort: Sort,
    paging: Paging<Place>,
) -> db::Result<Page<Listing, Place>> {
    let tiers = if sort == Sort::Relevance { &Tier::ALL[..] } else { &[Tier::Anywhere] };
    let needed = paging.offset as usize + paging.limit as usize + 1;
    let (mut rows, mut better) = (Vec::new(), None);
    for &tier in tiers {
        let is_before = paging.cursor.is_some_and(|place| sort == Sort::Relevance && place.key < tier.key());
        if !is_before {
            rows.extend(matches(db, wanted, (tier, better), filter, sort, paging, needed - rows.len()).await?);
        }
        if rows.len() == needed {
            break;
        }
        better = Some(tier);
    }
    rows.drain(..rows.len().min(paging.offset as usize));
    page(rows, paging.limit)
}

/// Id, slug and name of apps whose name has a word for each that is wanted, the most installed first.
pub async fn suggest(db: &Db, wanted: &Wanted) -> db::Result<Vec<(String, String, String)>> {
    db.query(PerEngine {
        sqlite: "SELECT l.app_id, l.slug, l.name
                 FROM (SELECT rowid AS number FROM app_search WHERE app_search MATCH $1 LIMIT $2) found
                 CROSS JOIN app_listings l ON l.number = found.number
                 WHERE l.listed
                 ORDER BY l.installs DESC, l.number DESC
                 LIMIT $3",
        postgres: "SELECT l.app_id, l.slug, l.name
                   FROM (SELECT * FROM app_listings
                         WHERE to_tsvector('simple', words_name) @@ to_tsquery('simple', $1) LIMIT $2) l
                   WHERE l.listed
                   ORDER BY l.installs DESC, l.number DESC
                   LIMIT $3",
    })
    .bind(Tier::Name.expression(wanted, db.engine()))
    .bind(MATCHES_MAX)
    .bind(SUGGESTIONS_MAX)
    .all()
    .await
}
