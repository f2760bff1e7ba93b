//! Beginning to act as somebody.

use clearway_config::{ErrorCode, UserId};

use crate::{
    audit::{self, Actor, Changes, Event},
    auth::Letters,
    db::Tx,
    http::{Api, ApiError, Caller, Principal, time::rfc3339},
    members,
    sessions::{self, Begun, NewSession},
    users::{self, User},
};

/// Begins a session in which the admin who asks acts as a person, who is told by mail.
pub(super) async fn begin(
    tx: &mut Tx,
    api: &Api,
    admin: &Caller,
    id: UserId,
    reason: &str,
    minutes: i64,
) -> Result<(User, Begun), ApiError> {
    let Principal::User { id: admin_id, impersonator: None, .. } = admin.principal else {
        return Err(ApiError::saying(
            ErrorCode::SignInRequired,
            "Only somebody who has signed in as themselves acts as another.",
        ));
    };
    let user = users::lock(tx, id).await?.ok_or_else(ApiError::not_found)?;
    if admin_id == id || user.suspended_at.is_some() {
        return Err(ApiError::saying(ErrorCode::Conflict, "Nobody acts as themselves, or as somebody who is suspended."));
    }
    if members::runs_platform(&mut *tx, id).await? {
        return Err(ApiError::saying(ErrorCode::Conflict, "Nobody acts as an admin of the platform."));
    }
    let account_id = members::home(&mut *tx, &user).await?;
    let account_id = account_id.ok_or_else(|| ApiError::saying(ErrorCode::Conflict, "They are a member of no account."))?;
    let expires_at = api.world.now_ms() + minutes * 60 * 1_000;
    let new = NewSession {
        user_id: id,
        account_id,
        impersonator: Some(admin_id),
        address: admin.address,
        user_agent: String::new(),
        second_factor: false,
        expires_at: Some(expires_at),
    };
    let begun = sessions::begin(tx, &api.world, &new).await?;
    let object_id = begun.id.to_string();
    let changes = Changes::default().field("user_id", (), id.to_string()).field("reason", (), reason).field(
        "expires_at",
        (),
        rfc3339(begun.expires_at),
    );
    let event = Event { action: "session.impersonated", account_id, object_kind: "session", object_id: &object_id, changes };
    audit::record(tx, &api.world, &Actor::from(admin), event).await?;
    let letters = Letters { public_url: &api.public_url };
    let mail = letters.impersonated(&user.email, reason, &rfc3339(begun.expires_at));
    api.mail.send(tx, &api.world, &mail).await?;
    Ok((user, begun))
}
