//! `app.*`: apps of the marketplace.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Emission::Waiting, Time};

/// An app as it is after what happened.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct App {
    /// `app_…`
    pub app_id: String,
    pub app_name: String,
}

impl App {
    fn example() -> Self {
        Self { app_id: "app_1QjvzY8L2d0ZB9oU4hXwVj".into(), app_name: "Slack Integration".into() }
    }
}

events! {
    /// An app was created.
    AppCreated = "app.created" v 1; Waiting("the marketplace"); of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        created_at: Time = Time(1_795_176_000_000),
    }

    /// An app was deleted.
    AppDeleted = "app.deleted" v 1; Waiting("the marketplace"); of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        deleted_at: Time = Time(1_795_176_000_000),
    }

    /// An app was installed.
    AppInstalled = "app.installed" v 1 also "app.install"; Waiting("the marketplace"); of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        /// Who installed it.
        user_id: String = "user_1QjvzY8L2d0ZB9oU4hXwVk".into(),
        /// What it may do there.
        scopes: Vec<String> = vec!["read:apps".into()],
        installed_at: Time = Time(1_795_176_000_000),
    }

    /// An app was published.
    AppPublished = "app.published" v 1; Waiting("the marketplace"); of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        published_at: Time = Time(1_795_176_000_000),
    }

    /// An app was uninstalled.
    AppUninstalled = "app.uninstalled" v 1 also "app.uninstall"; Waiting("the marketplace"); of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        /// Who uninstalled it.
        user_id: String = "user_1QjvzY8L2d0ZB9oU4hXwVk".into(),
        uninstalled_at: Time = Time(1_795_176_000_000),
    }

    /// An app was changed.
    AppUpdated = "app.updated" v 1; Waiting("the marketplace"); of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        /// The members of the app that were changed.
        changed: Vec<String> = vec!["app_name".into()],
    }
}
