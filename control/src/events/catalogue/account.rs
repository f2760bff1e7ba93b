//! `account.*` and `user.*`.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Emission::{Emitted, Waiting},
    Time,
};

/// An account as it is after what happened.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Account {
    /// `acct_…`
    pub account_id: String,
    pub name: String,
    /// The name of its plan.
    pub plan: String,
}

impl Account {
    fn example() -> Self {
        Self { account_id: "acct_1QjvzY8L2d0ZB9oU4hXwVm".into(), name: "Example Ltd".into(), plan: "pro".into() }
    }
}

/// A person.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct User {
    /// `user_…`
    pub user_id: String,
    /// `owner`, `admin`, `developer` or `viewer`.
    pub role: String,
}

impl User {
    fn example() -> Self {
        Self { user_id: "user_1QjvzY8L2d0ZB9oU4hXwVk".into(), role: "developer".into() }
    }
}

events! {
    /// An account was opened.
    AccountCreated = "account.created" v 1; Emitted; of account.account_id; {
        #[serde(flatten)]
        account: Account = Account::example(),
        created_at: Time = Time(1_795_176_000_000),
    }

    /// An account was put on another plan.
    AccountPlanChanged = "account.plan_changed" v 1; Emitted; of account.account_id; {
        #[serde(flatten)]
        account: Account = Account::example(),
        /// The name of the plan before.
        previous_plan: String = "starter".into(),
    }

    /// An account was resumed: its keys are accepted again.
    AccountResumed = "account.resumed" v 1; Emitted; of account.account_id; {
        #[serde(flatten)]
        account: Account = Account::example(),
    }

    /// An account was suspended: its keys are refused.
    AccountSuspended = "account.suspended" v 1; Emitted; of account.account_id; {
        #[serde(flatten)]
        account: Account = Account::example(),
        suspended_at: Time = Time(1_795_176_000_000),
    }

    /// A person's account was deleted.
    UserDeleted = "user.deleted" v 1; Waiting("erasing a person"); of user.user_id; {
        #[serde(flatten)]
        user: User = User::example(),
        deleted_at: Time = Time(1_795_176_000_000),
    }

    /// A person signed up.
    UserSignedUp = "user.signed_up" v 1 also "user.signup"; Emitted; of user.user_id; {
        #[serde(flatten)]
        user: User = User::example(),
        signed_up_at: Time = Time(1_795_176_000_000),
    }
}
