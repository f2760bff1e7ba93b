//! An app as its developer, and whoever reviews it, see it.

use clearway_config::{AccountId, AppId, AppVersionId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    content::{Category, Permission, PermissionDiff, Pricing},
    model::{App, Finding, Version, Whole},
    state::State,
};
use crate::http::time::rfc3339;

/// An app of one's own.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "app_1QjvzY8L2d0ZB9oU4hXwVn", "account_id": "acct_1QjvzY8L2d0ZB9oU4hXwVm", "slug": "slack-integration",
    "state": "draft", "reason": null, "live_version_id": null, "proposal_id": "ver_1QjvzY8L2d0ZB9oU4hXwVo", "version": 1,
    "published_at": null, "created_at": "2026-11-20T12:00:00.000Z", "updated_at": "2026-11-20T12:00:00.000Z"}))]
pub(super) struct AppView {
    #[schema(value_type = String)]
    id: AppId,
    #[schema(value_type = String)]
    account_id: AccountId,
    slug: String,
    state: State,
    /// Why it is suspended, or was removed.
    reason: Option<String>,
    /// The version that the catalogue shows.
    #[schema(value_type = Option<String>)]
    live_version_id: Option<AppVersionId>,
    /// The version that is written or reviewed.
    #[schema(value_type = Option<String>)]
    proposal_id: Option<AppVersionId>,
    /// Counts its changes and those of its versions; also its `ETag`.
    version: i64,
    published_at: Option<String>,
    created_at: String,
    updated_at: String,
}

/// An app with its live version and its proposal.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct WholeAppView {
    #[serde(flatten)]
    app: AppView,
    live: Option<VersionView>,
    proposal: Option<VersionView>,
    /// What the proposal asks for beside the live version; null without a proposal.
    permission_diff: Option<PermissionDiff>,
}

/// A version of an app.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "ver_1QjvzY8L2d0ZB9oU4hXwVo", "app_id": "app_1QjvzY8L2d0ZB9oU4hXwVn", "number": "1.0.0", "state": "in_review",
    "name": "Slack Integration", "summary": "Send notifications to Slack", "description": "Posts what happens to a channel.",
    "category": "communication", "icon_url": "https://cdn.example.com/slack.png",
    "documentation_url": "https://docs.example.com/slack", "support_url": "https://support.example.com/",
    "privacy_url": "https://example.com/privacy", "features": ["Post messages"],
    "permissions": [{"scope": "read:events", "reason": "To post what happens to a channel.", "optional": false}],
    "redirect_uris": ["https://example.com/oauth/callback"], "webhook_url": "https://example.com/hooks",
    "pricing": {"model": "free", "currency": null, "monthly": null, "per_unit": null, "unit": null, "free_units": null},
    "findings": [{"check": "permissions", "passed": true, "message": "as it should be"}], "reason": null,
    "submitted_at": "2026-11-20T12:00:00.000Z", "decided_at": null, "decided_by": null,
    "created_at": "2026-11-20T11:00:00.000Z", "updated_at": "2026-11-20T12:00:00.000Z"}))]
pub(super) struct VersionView {
    #[schema(value_type = String)]
    id: AppVersionId,
    #[schema(value_type = String)]
    app_id: AppId,
    /// Three whole numbers.
    number: String,
    state: State,
    name: String,
    summary: String,
    description: String,
    category: Category,
    icon_url: Option<String>,
    documentation_url: Option<String>,
    support_url: Option<String>,
    privacy_url: Option<String>,
    features: Vec<String>,
    permissions: Vec<Permission>,
    redirect_uris: Vec<String>,
    webhook_url: Option<String>,
    pricing: Pricing,
    /// Of the automatic checks, once they have run.
    findings: Vec<Finding>,
    /// Why it was rejected.
    reason: Option<String>,
    submitted_at: Option<String>,
    decided_at: Option<String>,
    /// `user_…`, `key_…`, or `checks`.
    decided_by: Option<String>,
    created_at: String,
    updated_at: String,
}

/// What waits for review, with what it asks for beside the live version.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct QueuedView {
    app: AppView,
    proposal: VersionView,
    permission_diff: PermissionDiff,
}

impl From<&App> for AppView {
    fn from(app: &App) -> Self {
        Self {
            id: app.id,
            account_id: app.account_id,
            slug: app.slug.clone(),
            state: app.state,
            reason: app.reason.clone(),
            live_version_id: app.live,
            proposal_id: app.proposal,
            version: app.version,
            published_at: app.published_at.map(rfc3339),
            created_at: rfc3339(app.created_at),
            updated_at: rfc3339(app.updated_at),
        }
    }
}

impl From<&Version> for VersionView {
    fn from(of: &Version) -> Self {
        let content = of.content.clone();
        Self {
            id: of.id,
            app_id: of.app_id,
            number: of.number.to_string(),
            state: of.state,
            name: content.name,
            summary: content.summary,
            description: content.description,
            category: content.category,
            icon_url: content.icon_url,
            documentation_url: content.documentation_url,
            support_url: content.support_url,
            privacy_url: content.privacy_url,
            features: content.features,
            permissions: content.permissions,
            redirect_uris: content.redirect_uris,
            webhook_url: content.webhook_url,
            pricing: content.pricing,
            findings: of.findings.clone(),
            reason: of.reason.clone(),
            submitted_at: of.submitted_at.map(rfc3339),
            decided_at: of.decided_at.map(rfc3339),
            decided_by: of.decided_by.clone(),
            created_at: rfc3339(of.created_at),
            updated_at: rfc3339(of.updated_at),
        }
    }
}

impl From<&Whole> for WholeAppView {
    fn from(whole: &Whole) -> Self {
        let before = whole.live.as_ref().map(|live| &live.content);
        let diff = whole.proposal.as_ref().map(|proposal| proposal.content.permission_diff(before));
        Self {
            app: (&whole.app).into(),
            live: whole.live.as_ref().map(VersionView::from),
            proposal: whole.proposal.as_ref().map(VersionView::from),
            permission_diff: diff,
        }
    }
}

impl QueuedView {
    /// `None` where nothing waits any more.
    pub(super) fn of(whole: &Whole) -> Option<Self> {
        let proposal = whole.proposal.as_ref()?;
        let before = whole.live.as_ref().map(|live| &live.content);
        let permission_diff = proposal.content.permission_diff(before);
        Some(Self { app: (&whole.app).into(), proposal: proposal.into(), permission_diff })
    }
}
