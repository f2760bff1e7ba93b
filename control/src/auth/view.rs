//! What is told of a person and of a sign-in.

use clearway_config::AccountId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{login::SignedIn, ticket::Ticket};
use crate::{
    http::time::rfc3339,
    members::{Membership, Role},
    users::User,
};

/// A person.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "user_1QjvzY8L2d0ZB9oU4hXwVk", "email": "ann@example.com", "name": "Ann", "version": 1,
    "created_at": "2026-11-20T12:00:00.000Z", "password_changed_at": null}))]
pub struct UserView {
    id: String,
    /// Proved to be theirs.
    email: String,
    /// What they want to be called; may be empty.
    name: String,
    /// Counted up by every change of name or address.
    version: i64,
    created_at: String,
    password_changed_at: Option<String>,
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email.clone(),
            name: user.name.clone(),
            version: user.version,
            created_at: rfc3339(user.created_at),
            password_changed_at: user.password_changed_at.map(rfc3339),
        }
    }
}

/// An account where a person is a member.
#[derive(Debug, Serialize, ToSchema)]
pub struct MembershipView {
    account_id: String,
    /// The account's name.
    name: String,
    role: Role,
    /// Whether the account is suspended: nothing can be done in it then.
    suspended: bool,
}

impl From<Membership> for MembershipView {
    fn from(membership: Membership) -> Self {
        Self {
            account_id: membership.account_id.to_string(),
            name: membership.name,
            role: membership.role,
            suspended: membership.suspended,
        }
    }
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CurrentView {
    pub(super) user: UserView,
    /// The session that asks.
    pub(super) session_id: String,
    /// The account that it acts for, unless `X-Clearway-Account` names another.
    pub(super) account_id: String,
    /// The accounts where the person is a member, at most 100.
    pub(super) memberships: Vec<MembershipView>,
    /// For `X-CSRF-Token`, where the session came in a cookie.
    pub(super) csrf_token: Option<String>,
    /// The admin who acts as this person.
    pub(super) impersonator_id: Option<String>,
}

/// A session that has just begun, or was given a new token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"session_id": "ses_1QjvzY8L2d0ZB9oU4hXwVm", "token": "clws_…", "csrf_token": null,
    "expires_at": "2026-12-20T12:00:00.000Z"}))]
pub(super) struct SessionGiven {
    session_id: String,
    /// The bearer, in this answer only. Null where it is in the cookie.
    token: Option<String>,
    /// For `X-CSRF-Token`, where the session is in the cookie.
    csrf_token: Option<String>,
    /// Used or not, it ends then.
    expires_at: String,
}

impl SessionGiven {
    pub(super) fn new(begun: &crate::sessions::Begun, cookie: bool) -> Self {
        Self {
            session_id: begun.id.to_string(),
            token: (!cookie).then(|| begun.token.reveal().to_owned()),
            csrf_token: cookie.then(|| begun.token.csrf().to_string()),
            expires_at: rfc3339(begun.expires_at),
        }
    }
}

/// What a sign-in has come to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(super) enum SignInView {
    /// A session has begun.
    SignedIn(Box<SignedInView>),
    /// Password or link were right, and a code is asked for, by `/auth/second-factor`.
    SecondFactorRequired(FactorTicketView),
}

/// Somebody who has signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SignedInView {
    user: UserView,
    session: SessionGiven,
    /// Send it as `device_token` the next time: guesses of strangers do not lock this device out then. Null where it is
    /// known already, and where it is in a cookie.
    device_token: Option<String>,
}

/// What to send to `/auth/second-factor` beside a code.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FactorTicketView {
    /// Good until a right code came with it.
    ticket: String,
    /// What will do: `totp`, a code of the app, `passkey`, or `recovery_code`.
    methods: Vec<&'static str>,
    /// Within five minutes.
    expires_at: String,
}

impl SignInView {
    pub(super) fn signed_in(signed_in: &SignedIn, cookie: bool) -> Self {
        Self::SignedIn(Box::new(SignedInView {
            user: (&signed_in.user).into(),
            session: SessionGiven::new(&signed_in.begun, cookie),
            device_token: signed_in.device.as_ref().filter(|_| !cookie).map(|device| device.reveal().to_owned()),
        }))
    }

    pub(super) fn waits(ticket: &Ticket) -> Self {
        let held = ticket.held;
        let methods = [(held.totp, "totp"), (held.passkeys > 0, "passkey"), (held.recovery_codes > 0, "recovery_code")];
        Self::SecondFactorRequired(FactorTicketView {
            ticket: ticket.token.reveal().to_owned(),
            methods: methods.into_iter().filter(|(there, _)| *there).map(|(_, method)| method).collect(),
            expires_at: rfc3339(ticket.expires_at),
        })
    }
}

/// What has been done about a wish whose outcome is mailed, or told in a word.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "mailed"}))]
pub struct Done {
    /// `mailed`: if there is something to do for the address, a mail says what. `signed_out`, `password_set`: as it says.
    pub status: &'static str,
}

/// A person who has just registered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RegisteredView {
    pub(super) user: UserView,
    /// Their own account, of which they are the owner.
    #[schema(value_type = String)]
    pub(super) account_id: AccountId,
}
