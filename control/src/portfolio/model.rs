//! Projects as values. No IO.

use clearway_config::{AccountId, AppId, ProjectId};

use crate::audit::Changes;

/// Projects of one account at most.
pub(super) const PROJECTS_MAX: i64 = 100;
pub(super) const TITLE_CHARS_MAX: usize = 100;
pub(super) const SUMMARY_CHARS_MAX: usize = 200;
pub(super) const DESCRIPTION_CHARS_MAX: usize = 10_000;
pub(super) const TAGS_MAX: usize = 10;
pub(super) const TAG_CHARS_MAX: usize = 30;
pub(super) const URL_CHARS_MAX: usize = 2_048;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub id: ProjectId,
    pub account_id: AccountId,
    pub title: String,
    pub summary: String,
    pub description: String,
    pub url: Option<String>,
    pub tags: Vec<String>,
    /// The account's app that came of it.
    pub app_id: Option<AppId>,
    /// Counts its changes, from 1.
    pub version: i64,
    pub published_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

/// `None` leaves a field as it is; `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct ProjectUpdate {
    pub title: Option<String>,
    pub summary: Option<String>,
    pub description: Option<String>,
    pub url: Option<Option<String>>,
    pub tags: Option<Vec<String>>,
    pub app_id: Option<Option<AppId>>,
}

impl ProjectUpdate {
    pub(super) fn apply(self, old: &Project) -> Project {
        let old = old.clone();
        Project {
            title: self.title.unwrap_or(old.title),
            summary: self.summary.unwrap_or(old.summary),
            description: self.description.unwrap_or(old.description),
            url: self.url.unwrap_or(old.url),
            tags: self.tags.unwrap_or(old.tags),
            app_id: self.app_id.unwrap_or(old.app_id),
            ..old
        }
    }
}

impl Project {
    /// What differs, for the audit log.
    pub(super) fn differences(&self, old: &Self) -> Changes {
        Changes::default()
            .field("title", &old.title, &self.title)
            .field("summary", &old.summary, &self.summary)
            .field("description", &old.description, &self.description)
            .field("url", &old.url, &self.url)
            .field("tags", &old.tags, &self.tags)
            .field("app_id", old.app_id, self.app_id)
    }
}
