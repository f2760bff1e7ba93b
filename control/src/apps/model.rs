//! Apps and their versions as values. No IO.

use std::{fmt, str::FromStr};

use clearway_config::{AccountId, AppId, AppVersionId, WebhookId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    content::{Content, Number},
    state::{Standing, State},
};
use crate::events;

/// Apps of one account that are not removed, at most.
pub(super) const APPS_MAX: i64 = 100;
/// Versions of one app at most.
pub(super) const VERSIONS_MAX: i64 = 1_000;
pub(super) const SLUG_CHARS_MAX: usize = 60;

#[derive(Debug, Clone, PartialEq)]
pub struct App {
    pub id: AppId,
    pub account_id: AccountId,
    /// In the URL of its page; of no other app, ever.
    pub slug: String,
    pub state: State,
    /// What the catalogue shows.
    pub live: Option<AppVersionId>,
    /// What is written or reviewed.
    pub proposal: Option<AppVersionId>,
    /// Why it is suspended, or was removed.
    pub reason: Option<String>,
    /// Counts its changes and those of its versions, from 1.
    pub version: i64,
    pub published_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    pub id: AppVersionId,
    pub app_id: AppId,
    pub number: Number,
    pub state: State,
    pub content: Content,
    /// Of the automatic checks, the last time.
    pub findings: Vec<Finding>,
    /// The webhook that the checks post by, while they do.
    pub probe: Option<WebhookId>,
    /// When the checks are run, or run again.
    pub check_due: Option<i64>,
    pub submitted_at: Option<i64>,
    pub decided_at: Option<i64>,
    /// `user_…`, `key_…`, or `checks`.
    pub decided_by: Option<String>,
    /// Why it was rejected.
    pub reason: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

/// What one of the automatic checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What was looked at: `listing`, `version`, `redirect_uris`, `permissions`, `pricing` or `webhook`.
    pub check: String,
    pub passed: bool,
    pub message: String,
}

/// A place in the queue of proposals. Its text is a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) app: AppId,
    pub(super) version: AppVersionId,
    pub(super) since: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a place in the queue")]
pub(super) struct MalformedPlace;

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.since, self.version, self.app)
    }
}

impl FromStr for Waiting {
    type Err = MalformedPlace;

    fn from_str(text: &str) -> Result<Self, MalformedPlace> {
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or(MalformedPlace);
        let (since, version, app) = (part()?, part()?, part()?);
        Ok(Self {
            app: app.parse().map_err(|_| MalformedPlace)?,
            version: version.parse().map_err(|_| MalformedPlace)?,
            since: since.parse().map_err(|_| MalformedPlace)?,
        })
    }
}

/// An app with what is live of it and what is proposed.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    pub app: App,
    pub live: Option<Version>,
    pub proposal: Option<Version>,
}

impl Whole {
    pub(super) fn standing(&self) -> Standing {
        Standing { app: self.app.state, live: self.live.is_some(), proposal: self.proposal.as_ref().map(|version| version.state) }
    }

    /// What it is called: by the live version, or else by the proposal.
    pub fn name(&self) -> &str {
        let version = self.live.as_ref().or(self.proposal.as_ref());
        version.map_or(self.app.slug.as_str(), |version| version.content.name.as_str())
    }

    /// As events speak of it.
    pub fn told(&self) -> events::App {
        events::App { app_id: self.app.id.to_string(), app_name: self.name().to_owned() }
    }
}

/// From a name: letters and digits of ASCII in lower case, and single `-` between them. Empty where it has none.
pub(super) fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if slug.len() >= SLUG_CHARS_MAX {
            break;
        }
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// Whether it may be one: the form of [`slug_of`], at least 3 characters, and no word that means something in a path.
pub(super) fn is_slug(text: &str) -> bool {
    const RESERVED: [&str; 7] = ["categories", "collections", "install", "mine", "new", "search", "suggestions"];
    text.len() >= 3 && slug_of(text) == text && !RESERVED.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_made_from_a_name() {
        for (name, slug) in
            [("Slack Integration", "slack-integration"), ("  A!!b  ", "a-b"), ("Über Öl 9", "ber-l-9"), ("日本", "")]
        {
            assert_eq!(slug_of(name), slug);
        }
        assert!(slug_of(&"a-".repeat(90)).len() <= SLUG_CHARS_MAX);
        for good in ["abc", "a-b", "slack-2"] {
            assert!(is_slug(good), "{good}");
        }
        for bad in ["", "ab", "-ab", "ab-", "a--b", "Abc", "a b", "install", "app_1"] {
            assert!(!is_slug(bad), "{bad}");
        }
    }
}
