//! Accounts: who owns keys and a subscription. An account is active or suspended; a suspended one's keys
//! are refused everywhere. Its plan is that of its one open subscription.

mod feed;
mod http;
mod store;

use clearway_config::{AccountId, ErrorCode, SubscriptionId};

pub use feed::AccountFeed;
pub use http::routes;
pub use store::{is_platform, lock, mark_platform, platform, rename, totals};

use crate::{
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    events::{
        self, NewEvent, Time,
        account::{AccountCreated, AccountPlanChanged, AccountResumed, AccountSuspended},
        billing::{BillingDowngraded, BillingUpgraded},
    },
    http::{ApiError, IfMatch, time::rfc3339},
    routes as objects,
    sync::{self, ChangeKind, Revision},
    world::World,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    pub created_at: i64,
    pub suspended_at: Option<i64>,
    pub plan: String,
    /// What the plan allows; `None` is any number.
    pub keys_max: Option<i64>,
    /// Names of its own, in order.
    pub policies: Vec<String>,
    /// What `X-<Brand>-Signature` of its webhooks is called.
    pub brand: String,
    /// Counts its changes.
    pub version: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("no such account")]
    NotFound,
    #[error("no such plan, or it is not on offer any more")]
    PlanNotOffered,
    #[error("there is no policy of this name")]
    PolicyUnknown(usize),
    /// The caller's picture of it is old.
    #[error("it is not at the version that was expected")]
    Changed,
    #[error("an admin would lock itself out")]
    OwnAccount,
    #[error("the account could not be stored")]
    Store(#[from] db::Error),
}

/// Opens an account on `plan`.
pub async fn open(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    name: String,
    plan: String,
) -> Result<(Account, Revision), AccountError> {
    let now_ms = world.now_ms();
    if !store::is_offered(tx, &plan).await? {
        return Err(AccountError::PlanNotOffered);
    }
    let id = world.id(AccountId::new);
    store::insert(tx, id, &name, now_ms).await?;
    store::subscribe(tx, world.id(SubscriptionId::new), id, &plan, now_ms).await?;
    // Without the name, which may be a person's.
    let changes = Changes::default().field("plan", (), &plan);
    let account = found(tx, id).await?;
    let created = AccountCreated { account: (&account).into(), created_at: Time(now_ms) };
    noted(tx, world, actor, "account.created", id, changes, &[NewEvent::of(id, &created)]).await?;
    let revision = told(tx, world, id).await?;
    Ok((account, revision))
}

/// Moves the account to `plan`, from the next request on. The revision is there even when it has that plan already.
pub async fn change_plan(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    id: AccountId,
    plan: String,
) -> Result<(Account, Revision), AccountError> {
    let now_ms = world.now_ms();
    let old = store::lock(tx, id).await?.ok_or(AccountError::NotFound)?;
    let mut happened = Vec::new();
    if old.plan != plan {
        if !store::is_offered(tx, &plan).await? {
            return Err(AccountError::PlanNotOffered);
        }
        store::end_subscription(tx, id, now_ms).await?;
        store::subscribe(tx, world.id(SubscriptionId::new), id, &plan, now_ms).await?;
        happened = plan_changed(&old, &plan, store::stands_before(tx, &old.plan, &plan).await?);
    }
    let changes = Changes::default().field("plan", &old.plan, &plan);
    let revision = note(tx, world, actor, "account.plan_changed", id, changes, &happened).await?;
    Ok((found(tx, id).await?, revision))
}

fn plan_changed(old: &Account, plan: &str, upgraded: bool) -> Vec<NewEvent> {
    let account = events::Account { plan: plan.to_owned(), ..old.into() };
    let (account_id, plan, previous_plan) = (account.account_id.clone(), plan.to_owned(), old.plan.clone());
    let changed = AccountPlanChanged { account, previous_plan: previous_plan.clone() };
    let moved = if upgraded {
        NewEvent::of(old.id, &BillingUpgraded { account_id, plan, previous_plan })
    } else {
        NewEvent::of(old.id, &BillingDowngraded { account_id, plan, previous_plan })
    };
    vec![NewEvent::of(old.id, &changed), moved]
}

/// Suspends or resumes; doing it again changes nothing.
pub async fn set_suspended(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    id: AccountId,
    suspended: bool,
) -> Result<(Account, Revision), AccountError> {
    if suspended && matches!(actor, Actor::Caller(caller) if caller.account_id == id) {
        return Err(AccountError::OwnAccount);
    }
    let old = store::lock(tx, id).await?.ok_or(AccountError::NotFound)?;
    let suspended_at = suspended.then(|| old.suspended_at.unwrap_or(world.now_ms()));
    store::set_suspended(tx, id, suspended_at).await?;
    let action = if suspended { "account.suspended" } else { "account.resumed" };
    let changes = Changes::default().field("suspended_at", old.suspended_at.map(rfc3339), suspended_at.map(rfc3339));
    let happened = match suspended_at {
        Some(at) => NewEvent::of(id, &AccountSuspended { account: (&old).into(), suspended_at: Time(at) }),
        None => NewEvent::of(id, &AccountResumed { account: (&old).into() }),
    };
    let revision = note(tx, world, actor, action, id, changes, &[happened]).await?;
    Ok((found(tx, id).await?, revision))
}

/// Gives the account these policies in the place of those it had, if it is at the version that is expected.
pub async fn set_policies(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    (id, expected): (AccountId, IfMatch),
    policies: Vec<String>,
) -> Result<(Account, Revision), AccountError> {
    // Takes the objects' lock first: none of the policies goes until this has been committed.
    if let Some(unknown) = objects::name_policies(tx, &id.to_string(), &policies).await? {
        return Err(AccountError::PolicyUnknown(unknown));
    }
    let old = store::lock(tx, id).await?.ok_or(AccountError::NotFound)?;
    expected.check(old.version).map_err(|_| AccountError::Changed)?;
    store::set_policies(tx, id, &policies).await?;
    let changes = Changes::default().field("policies", &old.policies, &policies);
    let revision = note(tx, world, actor, "account.policies_changed", id, changes, &[]).await?;
    Ok((found(tx, id).await?, revision))
}

/// Gives the account a brand; its webhooks' feature tells the proxies.
pub async fn set_brand(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    id: AccountId,
    brand: String,
) -> Result<(Account, Revision), AccountError> {
    let old = store::lock(tx, id).await?.ok_or(AccountError::NotFound)?;
    store::set_brand(tx, id, &brand).await?;
    let changes = Changes::default().field("brand", &old.brand, &brand);
    let revision = note(tx, world, actor, "account.brand_changed", id, changes, &[]).await?;
    Ok((found(tx, id).await?, revision))
}

async fn found(tx: &mut Tx, id: AccountId) -> Result<Account, AccountError> {
    store::find(&mut *tx, id).await?.ok_or(AccountError::NotFound)
}

/// The version, the audit entry and the events, unless nothing changed; and the revision.
async fn note(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    action: &'static str,
    id: AccountId,
    changes: Changes,
    happened: &[NewEvent],
) -> db::Result<Revision> {
    if !changes.is_empty() {
        store::count_change(tx, id).await?;
        noted(tx, world, actor, action, id, changes, happened).await?;
    }
    told(tx, world, id).await
}

async fn noted(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    action: &'static str,
    account_id: AccountId,
    changes: Changes,
    happened: &[NewEvent],
) -> db::Result<()> {
    let object_id = account_id.to_string();
    let event = Event { action, account_id, object_kind: "account", object_id: &object_id, changes };
    audit::record(tx, world, actor, event).await?;
    events::emit_all(tx, world, happened).await.map(|_| ())
}

async fn told(tx: &mut Tx, world: &World, id: AccountId) -> db::Result<Revision> {
    sync::record(tx, ChangeKind::Account, &id.to_string(), world.now_ms()).await
}

impl From<&Account> for events::Account {
    fn from(account: &Account) -> Self {
        Self { account_id: account.id.to_string(), name: account.name.clone(), plan: account.plan.clone() }
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NotFound => ApiError::not_found(),
            AccountError::PlanNotOffered => {
                ApiError::invalid(&[crate::http::issue("plan", "unknown", "is not a plan on offer; see /api/v1/billing/plans")])
            }
            AccountError::PolicyUnknown(at) => ApiError::invalid(&[crate::http::issue(
                &format!("policies.{at}"),
                "unknown",
                "is not a policy; see /api/v1/admin/policies",
            )]),
            AccountError::Changed => ApiError::new(ErrorCode::PreconditionFailed),
            AccountError::OwnAccount => {
                ApiError::saying(ErrorCode::Conflict, "An admin cannot suspend the account of its own key.")
            }
            AccountError::Store(error) => error.into(),
        }
    }
}
