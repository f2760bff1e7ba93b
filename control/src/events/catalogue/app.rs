//! `app.*`: apps of the marketplace.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Emission::Emitted, Time};

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
    /// A version of an app was approved, and may be published.
    AppApproved = "app.approved" v 1; Emitted; of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        version: String = "1.2.0".into(),
    }

    /// An app was created.
    AppCreated = "app.created" v 1; Emitted; of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        created_at: Time = Time(1_795_176_000_000),
    }

    /// An app was deleted.
    AppDeleted = "app.deleted" v 1; Emitted; of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        deleted_at: Time = Time(1_795_176_000_000),
    }

    /// An account installed an app. The app's developer is told, and the account.
    AppInstalled = "app.installed" v 1 also "app.install"; Emitted; of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        /// `inst_…`
        installation_id: String = "inst_1QjvzY8L2d0ZB9oU4hXwVl".into(),
        /// Where it was installed.
        account_id: String = "acct_1QjvzY8L2d0ZB9oU4hXwVm".into(),
        /// Who installed it; null where a key did.
        user_id: Option<String> = Some("user_1QjvzY8L2d0ZB9oU4hXwVk".into()),
        /// What it may do there.
        scopes: Vec<String> = vec!["read:apps".into()],
        installed_at: Time = Time(1_795_176_000_000),
    }

    /// An app, or a new version of it, was published.
    AppPublished = "app.published" v 1; Emitted; of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        published_at: Time = Time(1_795_176_000_000),
    }

    /// A version of an app was rejected, by the automatic checks or by a person.
    AppRejected = "app.rejected" v 1; Emitted; of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        version: String = "1.2.0".into(),
        reason: String = "The privacy page cannot be reached.".into(),
    }

    /// An app was suspended by whoever runs the marketplace: it is no longer offered.
    AppSuspended = "app.suspended" v 1; Emitted; of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        reason: String = "It asks people for passwords.".into(),
    }

    /// An account uninstalled an app. The app's developer is told, and the account.
    AppUninstalled = "app.uninstalled" v 1 also "app.uninstall"; Emitted; of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        /// `inst_…`
        installation_id: String = "inst_1QjvzY8L2d0ZB9oU4hXwVl".into(),
        /// Where it was installed.
        account_id: String = "acct_1QjvzY8L2d0ZB9oU4hXwVm".into(),
        /// Who uninstalled it; null where a key did.
        user_id: Option<String> = Some("user_1QjvzY8L2d0ZB9oU4hXwVk".into()),
        uninstalled_at: Time = Time(1_795_176_000_000),
    }

    /// An app was changed.
    AppUpdated = "app.updated" v 1; Emitted; of app.app_id; {
        #[serde(flatten)]
        app: App = App::example(),
        /// The members of the app that were changed.
        changed: Vec<String> = vec!["app_name".into()],
    }
}
