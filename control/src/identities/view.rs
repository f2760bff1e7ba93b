//! What is told of providers and identities.

use serde::Serialize;
use utoipa::ToSchema;

use super::store::Identity;
use crate::{http::time::rfc3339, providers::Provider};

/// A provider that people may sign in by.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"name": "github", "title": "GitHub"}))]
pub(super) struct ProviderView {
    /// What it is called in paths here.
    name: String,
    /// What people read.
    title: String,
}

impl From<&Provider> for ProviderView {
    fn from(provider: &Provider) -> Self {
        Self { name: provider.name.clone(), title: provider.title.clone() }
    }
}

/// The providers there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProvidersView {
    pub(super) providers: Vec<ProviderView>,
}

/// Where a browser goes now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"url": "https://github.com/login/oauth/authorize?…", "expires_at": "2026-11-20T12:10:00.000Z"}))]
pub(super) struct AwayView {
    /// At the provider. It leads back to `return_to`, for this browser, once.
    pub(super) url: String,
    pub(super) expires_at: String,
}

/// Who a person is at a provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "ident_1QjvzY8L2d0ZB9oU4hXwVm", "provider": "github", "subject": "583231",
    "email": "ann@example.com", "created_at": "2026-11-20T12:00:00.000Z", "last_used_at": null}))]
pub struct IdentityView {
    id: String,
    provider: String,
    /// What the provider calls the person.
    subject: String,
    /// As the provider has said it last, if it was verified there.
    email: Option<String>,
    created_at: String,
    /// When somebody signed in by it last.
    last_used_at: Option<String>,
}

impl From<Identity> for IdentityView {
    fn from(identity: Identity) -> Self {
        Self {
            id: identity.id.to_string(),
            provider: identity.provider,
            subject: identity.subject,
            email: identity.email,
            created_at: rfc3339(identity.created_at),
            last_used_at: identity.last_used_at.map(rfc3339),
        }
    }
}
