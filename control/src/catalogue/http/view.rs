//! What everybody sees of an app.

use clearway_config::{AccountId, AppId};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::listing::Listing;
use crate::{
    apps::{Category, Permission, PriceModel, Pricing},
    http::time::rfc3339,
};

/// An app in a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "app_1QjvzY8L2d0ZB9oU4hXwVn", "slug": "slack-integration", "name": "Slack Integration",
    "summary": "Send notifications to Slack", "icon_url": "https://cdn.example.com/slack.png", "category": "communication",
    "developer": {"id": "acct_1QjvzY8L2d0ZB9oU4hXwVm", "name": "Example Ltd"}, "version": "2.1.0", "rating": 4.8,
    "review_count": 124, "install_count": 1250, "price_model": "free", "featured": true,
    "published_at": "2026-01-15T10:00:00.000Z", "updated_at": "2026-10-01T14:30:00.000Z"}))]
pub(super) struct ListingView {
    #[schema(value_type = String)]
    id: AppId,
    slug: String,
    name: String,
    summary: String,
    icon_url: Option<String>,
    category: Category,
    developer: DeveloperView,
    version: String,
    /// The mean of the ratings, to one decimal; null where there are none.
    rating: Option<f64>,
    review_count: i64,
    install_count: i64,
    price_model: PriceModel,
    featured: bool,
    /// The first time.
    published_at: String,
    updated_at: String,
}

/// Whose app it is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct DeveloperView {
    #[schema(value_type = String)]
    id: AccountId,
    name: String,
}

/// An app's page.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct PageView {
    #[serde(flatten)]
    listing: ListingView,
    /// `active`, or `deprecated`: then it cannot be installed any more.
    #[schema(value_type = String)]
    status: &'static str,
    description: String,
    features: Vec<String>,
    /// What it asks for, and what for.
    permissions: Vec<Permission>,
    pricing: Pricing,
    documentation_url: Option<String>,
    support_url: Option<String>,
    privacy_url: Option<String>,
}

/// The mean, to one decimal.
pub(super) fn rating(count: i64, sum: i64) -> Option<f64> {
    let tenths = (sum * 20 + count) / (count.max(1) * 2);
    let tenths = u32::try_from(tenths).unwrap_or(0);
    (count > 0).then(|| f64::from(tenths) / 10.0)
}

impl From<Listing> for ListingView {
    fn from(of: Listing) -> Self {
        Self {
            rating: rating(of.rating_count, of.rating_sum),
            id: of.app_id,
            slug: of.slug,
            name: of.name,
            summary: of.summary,
            icon_url: of.details.icon_url,
            category: of.category,
            developer: DeveloperView { id: of.account_id, name: of.developer },
            version: of.details.number,
            review_count: of.rating_count,
            install_count: of.installs,
            price_model: of.price_model,
            featured: of.featured_at.is_some(),
            published_at: rfc3339(of.published_at),
            updated_at: rfc3339(of.updated_at),
        }
    }
}

impl PageView {
    pub(super) fn new(of: Listing, status: &'static str) -> Self {
        let details = of.details.clone();
        Self {
            listing: of.into(),
            status,
            description: details.description,
            features: details.features,
            permissions: details.permissions,
            pricing: details.pricing,
            documentation_url: details.documentation_url,
            support_url: details.support_url,
            privacy_url: details.privacy_url,
        }
    }
}
