//! Everything that is stored of a person, as one document. Secrets are in it nowhere, nor what is an account's and no
//! person's: keys, webhooks and stores are read by endpoints of their own.

use clearway_config::UserId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    audit::{self, AuditView},
    auth::{self, MembershipView, UserView},
    factors,
    http::{Api, ApiError, time::rfc3339},
    mail, members, sessions, users,
};

/// Rows of a kind at most, so that an answer is bounded: the newest.
const ROWS_MAX: i64 = 10_000;

/// Everything that is stored of a person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExportView {
    /// When this was read; all of it is of one moment.
    made_at: String,
    user: UserView,
    /// The accounts where they are a member.
    memberships: Vec<MembershipView>,
    second_factor: FactorExport,
    /// Where they are signed in, and were a while ago.
    sessions: Vec<SessionExport>,
    /// Where they have signed in before, which is known by a cookie.
    devices: Vec<DeviceExport>,
    /// Who invites their address to an account.
    invitations: Vec<InvitationExport>,
    /// What waits to be mailed to them, or has stayed in the local mailbox: without its text, which may hold tokens.
    mails: Vec<MailExport>,
    /// What they have done, and what was done about them: the audit log.
    audit: Vec<AuditView>,
    /// Of what there is more than the newest 10,000 that are here.
    cut: Vec<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
struct FactorExport {
    /// Whether one is asked for.
    on: bool,
    recovery_codes_left: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct SessionExport {
    id: String,
    address: String,
    user_agent: String,
    impersonated: bool,
    created_at: String,
    last_used_at: String,
    expires_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct DeviceExport {
    first_used_at: String,
    last_used_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct InvitationExport {
    account_id: String,
    role: String,
    created_at: String,
    expires_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct MailExport {
    subject: String,
    created_at: String,
}

/// At most [`ROWS_MAX`], and a note where there was more.
fn bounded<T>(name: &'static str, mut rows: Vec<T>, cut: &mut Vec<&'static str>) -> Vec<T> {
    let max = usize::try_from(ROWS_MAX).unwrap_or(usize::MAX);
    if rows.len() > max {
        rows.truncate(max);
        cut.push(name);
    }
    rows
}

/// All of it in one state of the database.
pub(super) async fn export(api: &Api, id: UserId) -> Result<ExportView, ApiError> {
    let mut tx = api.db.begin_read().await?;
    let more = ROWS_MAX + 1;
    let mut cut = Vec::new();
    let user = users::find(&mut tx, id).await?.ok_or_else(ApiError::not_found)?;
    let memberships = bounded("memberships", members::of_person(&mut tx, id, more).await?, &mut cut);
    let sessions = bounded("sessions", sessions::all(&mut tx, id, more).await?, &mut cut);
    let devices = bounded("devices", auth::devices(&mut tx, id, more).await?, &mut cut);
    let invitations = bounded("invitations", members::invitations_of(&mut tx, &user.email, more).await?, &mut cut);
    let mails = bounded("mails", mail::to(&mut tx, &user.email, more).await?, &mut cut);
    let audit = bounded("audit", audit::of_person(&mut tx, id, more).await?, &mut cut);
    let (on, recovery_codes_left) = factors::state(&mut tx, id).await?;
    let session = |session: sessions::Listed| SessionExport {
        id: session.id.to_string(),
        address: session.address,
        user_agent: session.user_agent,
        impersonated: session.impersonated,
        created_at: rfc3339(session.created_at),
        last_used_at: rfc3339(session.last_used_at),
        expires_at: rfc3339(session.expires_at),
    };
    let device = |(first, last)| DeviceExport { first_used_at: rfc3339(first), last_used_at: rfc3339(last) };
    let invitation = |(account_id, role, created_at, expires_at)| InvitationExport {
        account_id,
        role,
        created_at: rfc3339(created_at),
        expires_at: rfc3339(expires_at),
    };
    Ok(ExportView {
        made_at: rfc3339(api.world.now_ms()),
        user: (&user).into(),
        memberships: memberships.into_iter().map(MembershipView::from).collect(),
        second_factor: FactorExport { on, recovery_codes_left },
        sessions: sessions.into_iter().map(session).collect(),
        devices: devices.into_iter().map(device).collect(),
        invitations: invitations.into_iter().map(invitation).collect(),
        mails: mails.into_iter().map(|(subject, at)| MailExport { subject, created_at: rfc3339(at) }).collect(),
        audit,
        cut,
    })
}
