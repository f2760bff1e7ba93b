//! Everything that is stored of a person, as one document. Secrets are in it nowhere, nor what is an account's and no
//! person's: keys, webhooks and stores are read by endpoints of their own.

use clearway_config::{Scopes, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    audit::{self, AuditView},
    auth::{self, MembershipView, UserView},
    factors::{
        self, FactorView,
        passkeys::{self, PasskeyView},
    },
    http::{Api, ApiError, time::rfc3339},
    identities::{self, IdentityView},
    mail, members, oauth, portfolio, reviews, sessions, tickets, users,
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
    second_factor: FactorView,
    passkeys: Vec<PasskeyView>,
    /// Who they are at sign-in providers.
    identities: Vec<IdentityView>,
    /// Where they are signed in, and were a while ago.
    sessions: Vec<SessionExport>,
    /// Where they have signed in before, which is known by a cookie.
    devices: Vec<DeviceExport>,
    /// What they have let applications do.
    oauth_grants: Vec<GrantExport>,
    /// What they have written of apps.
    reviews: Vec<ReviewExport>,
    /// What they have written to whoever runs Clearway.
    ticket_messages: Vec<MessageExport>,
    /// What the account that was made with them shows, while they belong to it.
    projects: Vec<ProjectExport>,
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
struct GrantExport {
    client_id: String,
    account_id: String,
    #[schema(value_type = Vec<String>)]
    scopes: Scopes,
    created_at: String,
    last_used_at: String,
    expires_at: String,
    revoked_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ReviewExport {
    id: String,
    app_id: String,
    account_id: String,
    rating: i64,
    comment: String,
    created_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct MessageExport {
    ticket_id: String,
    body: String,
    created_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct ProjectExport {
    id: String,
    title: String,
    summary: String,
    description: String,
    url: Option<String>,
    published_at: Option<String>,
    created_at: String,
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
    let identities = bounded("identities", identities::of_person(&mut tx, id, more).await?, &mut cut);
    let devices = bounded("devices", auth::devices(&mut tx, id, more).await?, &mut cut);
    let grants = bounded("oauth_grants", oauth::given_by(&mut tx, id, more).await?, &mut cut);
    let reviews = bounded("reviews", reviews::by_author(&mut tx, &id.to_string(), more).await?, &mut cut);
    let messages = bounded("ticket_messages", tickets::by_author(&mut tx, &id.to_string(), more).await?, &mut cut);
    let projects = if memberships.iter().any(|membership| membership.account_id == user.account_id) {
        bounded("projects", portfolio::of_account(&mut tx, user.account_id, more).await?, &mut cut)
    } else {
        Vec::new()
    };
    let invitations = bounded("invitations", members::invitations_of(&mut tx, &user.email, more).await?, &mut cut);
    let mails = bounded("mails", mail::to(&mut tx, &user.email, more).await?, &mut cut);
    let audit = bounded("audit", audit::of_person(&mut tx, id, more).await?, &mut cut);
    let passkeys = bounded("passkeys", passkeys::of_person(&mut tx, id, more).await?, &mut cut);
    let held = factors::state(&mut tx, id).await?;
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
    let grant = |given: oauth::Given| GrantExport {
        client_id: given.client_id,
        account_id: given.account_id,
        scopes: given.scopes.0,
        created_at: rfc3339(given.created_at),
        last_used_at: rfc3339(given.last_used_at),
        expires_at: rfc3339(given.expires_at),
        revoked_at: given.revoked_at.map(rfc3339),
    };
    let review = |review: reviews::Review| ReviewExport {
        id: review.id.to_string(),
        app_id: review.app_id.to_string(),
        account_id: review.account_id.to_string(),
        rating: review.rating,
        comment: review.comment,
        created_at: rfc3339(review.created_at),
    };
    let message = |(ticket_id, body, at)| MessageExport { ticket_id, body, created_at: rfc3339(at) };
    let project = |project: portfolio::Project| ProjectExport {
        id: project.id.to_string(),
        title: project.title,
        summary: project.summary,
        description: project.description,
        url: project.url,
        published_at: project.published_at.map(rfc3339),
        created_at: rfc3339(project.created_at),
    };
    Ok(ExportView {
        made_at: rfc3339(api.world.now_ms()),
        user: (&user).into(),
        memberships: memberships.into_iter().map(MembershipView::from).collect(),
        second_factor: held.into(),
        passkeys: passkeys.into_iter().map(PasskeyView::from).collect(),
        identities: identities.into_iter().map(IdentityView::from).collect(),
        sessions: sessions.into_iter().map(session).collect(),
        devices: devices.into_iter().map(device).collect(),
        oauth_grants: grants.into_iter().map(grant).collect(),
        reviews: reviews.into_iter().map(review).collect(),
        ticket_messages: messages.into_iter().map(message).collect(),
        projects: projects.into_iter().map(project).collect(),
        invitations: invitations.into_iter().map(invitation).collect(),
        mails: mails.into_iter().map(|(subject, at)| MailExport { subject, created_at: rfc3339(at) }).collect(),
        audit,
        cut,
    })
}
