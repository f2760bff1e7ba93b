//! Browsing, searching and reading.

use axum::extract::{Path, State as Given};
use clearway_config::envelope::Success;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{
        listing::{Place, Sort},
        store::{
            self,
            browse::{Filter, browse, categories},
            search::{search, suggest},
        },
    },
    view::{ListingView, PageView},
};
use crate::{
    apps::{self, Category, PriceModel},
    db::Wanted,
    http::{
        Answer, Answered, Api, ApiError, Fields, Form, List, PageParams, Paging, Query,
        fields::{Wrong, number, parsed, text},
        issue,
    },
};

/// Characters that somebody searches by.
const QUERY_CHARS_MAX: usize = 200;
const INSTALLS_MAX: u64 = 1_000_000_000;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(suggestions)).routes(routes!(list_categories)).routes(routes!(read))
}

/// What seed 001 has under `/marketplace` too.
pub(super) fn aliases() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct SearchParams {
    /// Words, or beginnings of words, of an app's name, summary, features, category or description. Every one must be there.
    #[param(max_length = 200)]
    q: Option<String>,
    category: Option<Category>,
    price_model: Option<PriceModel>,
    /// The mean of the ratings at least, from 1 to 5, such as 4.5.
    min_rating: Option<f64>,
    min_installs: Option<u32>,
    /// Only what is featured.
    featured: Option<bool>,
    /// `popular`, `newest`, `trending`, `rating`, or `relevance` with words; that is the default then, and `popular` otherwise.
    #[param(inline)]
    sort: Option<Sort>,
}

#[derive(Debug)]
struct SearchForm {
    wanted: Option<Wanted>,
    filter: Filter,
    sort: Option<Sort>,
    paging: Paging<Place>,
}

impl Form for SearchForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let q = fields.optional("q", text(QUERY_CHARS_MAX));
        let category = fields.optional("category", parsed);
        let price_model = fields.optional("price_model", parsed);
        let rating_min = fields.optional("min_rating", stars);
        let installs_min = fields.optional("min_installs", number(0, INSTALLS_MAX));
        let featured = fields.optional("featured", flag);
        let sort = fields.optional("sort", parsed);
        let paging = Paging::read(fields);
        let filter = Filter {
            category: category?,
            price_model: price_model?,
            rating_min: rating_min?,
            installs_min: installs_min?.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
            featured: featured?.unwrap_or_default(),
        };
        // Punctuation alone is no words, and finds as if nothing had been typed.
        let wanted = q?.as_deref().and_then(Wanted::read);
        Some(Self { wanted, filter, sort: sort?, paging: paging? })
    }
}

/// In thousandths.
fn stars(value: &Value) -> Result<i64, Wrong> {
    let wrong = || ("format_invalid", "must be a number from 1 to 5 such as 4.5".to_owned());
    let (whole, rest) = value.as_str().map(|text| text.split_once('.').unwrap_or((text, ""))).ok_or_else(wrong)?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.len() != 1 || rest.len() > 3 || !digits(whole) || !digits(rest) {
        return Err(wrong());
    }
    let thousandths: i64 = format!("{whole}{rest:0<3}").parse().map_err(|_| wrong())?;
    if (1_000..=5_000).contains(&thousandths) { Ok(thousandths) } else { Err(wrong()) }
}

/// In a query it is text.
fn flag(value: &Value) -> Result<bool, Wrong> {
    match value.as_str() {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        _ => Err(("format_invalid", "must be true or false".into())),
    }
}

/// List or search the apps that are published
///
/// Takes no credential. A search looks at 50,000 matching apps at most.
#[utoipa::path(get, path = "/apps", operation_id = "apps_list", tag = "marketplace", params(SearchParams, PageParams),
    responses((status = 200, description = "A page of apps", body = Success<List<ListingView>>)))]
async fn list(Given(api): Given<Api>, Query(form): Query<SearchForm>) -> Answered {
    let SearchForm { wanted, filter, sort, paging } = form;
    let page = match &wanted {
        Some(wanted) => search(&api.db, wanted, filter, sort.unwrap_or(Sort::Relevance), paging).await?,
        None if sort == Some(Sort::Relevance) => {
            return Err(ApiError::invalid(&[issue("sort", "out_of_bounds", "relevance takes words in q")]));
        }
        None => browse(&api.db, filter, sort.unwrap_or_default(), paging).await?,
    };
    Answer::ok(&List::of(page.map(ListingView::from), None))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct SuggestParams {
    /// What was typed so far.
    #[param(max_length = 200)]
    q: String,
}

#[derive(Debug)]
struct SuggestForm {
    q: String,
}

impl Form for SuggestForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { q: fields.required("q", text(QUERY_CHARS_MAX))? })
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "app_1QjvzY8L2d0ZB9oU4hXwVn", "slug": "slack-integration", "name": "Slack Integration"}))]
struct SuggestionView {
    id: String,
    slug: String,
    name: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Suggestions {
    /// The most installed first, at most 10.
    items: Vec<SuggestionView>,
}

/// Suggest apps while somebody types
///
/// Takes no credential. The words, or beginnings of words, must be in an app's name.
#[utoipa::path(get, path = "/apps/suggestions", operation_id = "apps_suggestions", tag = "marketplace", params(SuggestParams),
    responses((status = 200, description = "Apps", body = Success<Suggestions>)))]
async fn suggestions(Given(api): Given<Api>, Query(form): Query<SuggestForm>) -> Answered {
    let found = match Wanted::read(&form.q) {
        Some(wanted) => suggest(&api.db, &wanted).await?,
        None => Vec::new(),
    };
    let items = found.into_iter().map(|(id, slug, name)| SuggestionView { id, slug, name }).collect();
    Answer::ok(&Suggestions { items })
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "communication", "name": "Communication", "apps": 12}))]
struct CategoryView {
    id: Category,
    #[schema(value_type = String)]
    name: &'static str,
    /// How many are published.
    apps: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Categories {
    items: Vec<CategoryView>,
}

/// List the categories
///
/// Takes no credential.
#[utoipa::path(get, path = "/apps/categories", operation_id = "apps_categories", tag = "marketplace",
    responses((status = 200, description = "Every category", body = Success<Categories>)))]
async fn list_categories(Given(api): Given<Api>) -> Answered {
    let counted = categories(&api.db).await?;
    let apps = |of: Category| counted.iter().find(|(name, _)| name == of.as_str()).map_or(0, |(_, apps)| *apps);
    let items = Category::ALL.map(|id| CategoryView { id, name: id.title(), apps: apps(id) }).into();
    Answer::ok(&Categories { items })
}

/// Read the page of an app
///
/// Takes no credential. What was published once is shown also when it is no longer offered.
#[utoipa::path(get, path = "/apps/{id}", operation_id = "apps_read", tag = "marketplace",
    params(("id" = String, Path, description = "The app's id, `app_…`, or its slug")),
    responses((status = 200, description = "The app", body = Success<PageView>)))]
async fn read(Given(api): Given<Api>, Path(id): Path<String>) -> Answered {
    let listing = store::find(&api.db, &id).await?.ok_or_else(ApiError::not_found)?;
    let app = apps::find(&api.db, None, listing.app_id).await?.ok_or_else(ApiError::not_found)?;
    if !app.state.is_shown() {
        return Err(ApiError::not_found());
    }
    Answer::ok(&PageView::new(listing, app.state.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rating_is_read_to_thousandths() {
        for (text, thousandths) in [("1", 1_000), ("4.5", 4_500), ("4.25", 4_250), ("5", 5_000)] {
            assert_eq!(stars(&json!(text)).ok(), Some(thousandths), "{text}");
        }
        for wrong in ["", "0.9", "5.001", "4.5555", "-4", "4,5", "nan", "1e0", "45"] {
            assert!(stars(&json!(wrong)).is_err(), "{wrong}");
        }
    }
}
