//! Changing who belongs to an account. The account is locked throughout, so that two changes at once never leave it
//! without an owner.

use clearway_config::{AccountId, ErrorCode, UserId};

use super::{Role, store};
use crate::{
    accounts,
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    http::ApiError,
    oauth,
    sync::Revision,
    world::World,
};

/// Why a member cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    #[error("no such member")]
    NotFound,
    #[error("the member who asks may not do this")]
    NotAllowed,
    #[error("the account would be without an owner")]
    LastOwner,
    #[error("the members could not be stored")]
    Store(#[from] db::Error),
}

/// Who asks, in the account that is locked now.
async fn asker(tx: &mut Tx, account: AccountId, actor: &Actor) -> Result<(UserId, Role), MemberError> {
    accounts::lock(tx, account).await?.ok_or(MemberError::NotFound)?;
    let Some(id) = actor.person() else { return Err(MemberError::NotAllowed) };
    let role = store::role(&mut *tx, account, id).await?.ok_or(MemberError::NotFound)?;
    Ok((id, role))
}

/// Whether a member of one role may make somebody of another role into a third, or remove them (`None`).
pub(super) fn may_change(asker: Role, of: Role, to: Option<Role>) -> bool {
    match asker {
        Role::Owner => true,
        Role::Admin => of != Role::Owner && to != Some(Role::Owner),
        Role::Developer | Role::Viewer => false,
    }
}

/// Gives a member another role.
pub(super) async fn change_role(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    account: AccountId,
    member: UserId,
    to: Role,
) -> Result<(), MemberError> {
    let (_, asks_as) = asker(tx, account, actor).await?;
    let of = store::role(&mut *tx, account, member).await?.ok_or(MemberError::NotFound)?;
    if !may_change(asks_as, of, Some(to)) {
        return Err(MemberError::NotAllowed);
    }
    if of == Role::Owner && to != Role::Owner && store::owners(tx, account).await? <= 1 {
        return Err(MemberError::LastOwner);
    }
    if of != to {
        store::set_role(tx, account, member, to).await?;
        note(tx, world, actor, account, "member.role_changed", member, Changes::default().field("role", of, to)).await?;
    }
    Ok(())
}

/// Removes a member, or lets one leave. What they have made in the account stays the account's; what they have let
/// applications do there ends, and proxies are told of it.
pub(super) async fn remove(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    account: AccountId,
    member: UserId,
) -> Result<Option<Revision>, MemberError> {
    let (id, asks_as) = asker(tx, account, actor).await?;
    let of = store::role(&mut *tx, account, member).await?.ok_or(MemberError::NotFound)?;
    if id != member && !may_change(asks_as, of, None) {
        return Err(MemberError::NotAllowed);
    }
    if of == Role::Owner && store::owners(tx, account).await? <= 1 {
        return Err(MemberError::LastOwner);
    }
    store::remove(tx, account, member).await?;
    let ended = oauth::end_of_person(tx, world, actor, member, Some(account)).await?;
    let action = if id == member { "member.left" } else { "member.removed" };
    note(tx, world, actor, account, action, member, Changes::default().field("role", of, ())).await?;
    Ok(ended.revision)
}

/// Makes another member the owner, and the owner who asks an admin.
pub(super) async fn transfer(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    account: AccountId,
    to: UserId,
) -> Result<(), MemberError> {
    let (id, asks_as) = asker(tx, account, actor).await?;
    if asks_as != Role::Owner || id == to {
        return Err(MemberError::NotAllowed);
    }
    let of = store::role(&mut *tx, account, to).await?.ok_or(MemberError::NotFound)?;
    store::set_role(tx, account, to, Role::Owner).await?;
    store::set_role(tx, account, id, Role::Admin).await?;
    let changes = Changes::default().field("owner", id.to_string(), to.to_string()).field("role", of, Role::Owner);
    Ok(note(tx, world, actor, account, "account.transferred", to, changes).await?)
}

pub(super) async fn note(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    account_id: AccountId,
    action: &'static str,
    member: UserId,
    changes: Changes,
) -> db::Result<()> {
    let object_id = member.to_string();
    audit::record(tx, world, actor, Event { action, account_id, object_kind: "user", object_id: &object_id, changes }).await
}

impl From<MemberError> for ApiError {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::NotFound => ApiError::not_found(),
            MemberError::NotAllowed => {
                ApiError::saying(ErrorCode::ScopeMissing, "Your role in this account does not allow that.")
            }
            MemberError::LastOwner => ApiError::saying(
                ErrorCode::Conflict,
                "The account would be without an owner: make another member its owner first.",
            ),
            MemberError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_role() -> impl Strategy<Value = Role> {
        prop::sample::select(&Role::ALL)
    }

    proptest! {
        /// Whoever is no owner makes nobody into more than they are themselves, and touches no owner.
        #[test]
        fn nobody_gives_more_than_they_have(asker in any_role(), of in any_role(), to in prop::option::of(any_role())) {
            if may_change(asker, of, to) {
                prop_assert!(asker.manages());
                prop_assert!(asker == Role::Owner || of != Role::Owner);
                if let Some(to) = to {
                    let (has, gives) = (asker.scopes(false), to.scopes(false));
                    prop_assert_eq!(has.missing(&gives), None);
                    prop_assert!(asker == Role::Owner || to != Role::Owner);
                }
            }
        }
    }
}
