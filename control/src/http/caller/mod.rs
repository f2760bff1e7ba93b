//! Who is asking, and may they. A handler states what it needs in the type of its argument, [`Permit<S>`] or
//! [`Person`], and so cannot run without having been allowed to.
//!
//! The gateway has checked a key already, but this listener does not rely on that: it looks the key up itself, with the
//! same checks in the same order and the same codes. It counts nothing. Sessions are known here only.

mod credential;

use std::{marker::PhantomData, net::IpAddr, ops::Deref, sync::Arc};

use async_trait::async_trait;
use axum::extract::FromRequestParts;
use clearway_config::{
    AccountId, ClientId, ErrorCode, KeyHash, KeyId, RequestId, Scope, Scopes, SessionHash, SessionId, UserId, scope::ADMIN,
};
use clearway_filters::jwt::{Proof, Refusal};
use http::{HeaderMap, request::Parts};
use ipnet::IpNet;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use self::credential::CSRF_HEADER;
use self::credential::{Credential, check_page, credential, is_from_elsewhere};
use super::{Api, ApiError, Context};
use crate::db::{self, Db};

/// The account that a person acts for, of those where they are a member.
pub const ACCOUNT_HEADER: &str = "x-clearway-account";

/// A key as the checks see it.
#[derive(Debug, Clone)]
pub struct Held {
    pub key_id: KeyId,
    pub account_id: AccountId,
    /// The key, or this secret of it.
    pub revoked: bool,
    /// The earlier of the key's and the secret's.
    pub expires_at: Option<i64>,
    pub suspended: bool,
    /// Empty allows every address.
    pub allowed: Vec<IpNet>,
    pub scopes: Scopes,
    pub requires_signature: bool,
}

/// A session as the checks see it, in one account.
#[derive(Debug, Clone)]
pub struct HeldSession {
    pub session_id: SessionId,
    pub user_id: UserId,
    /// The admin who acts as this person.
    pub impersonator: Option<UserId>,
    pub account_id: AccountId,
    /// What the person's role in the account allows; `None` where they are no member of it.
    pub scopes: Option<Scopes>,
    pub ended: bool,
    pub expires_at: i64,
    /// The person, or the account.
    pub suspended: bool,
}

/// An application's access token as the checks see it.
#[derive(Debug, Clone)]
pub struct HeldToken {
    pub client_id: ClientId,
    /// Who agreed; `None` where it acts in its own account.
    pub user_id: Option<UserId>,
    pub account_id: AccountId,
    /// What of it holds now.
    pub scopes: Scopes,
    /// The thumbprint of the key that it is bound to (RFC 9449), where it is bound to one.
    pub bound: Option<Box<str>>,
}

/// Where access tokens are verified: the feature that issues them.
#[async_trait]
pub trait TokenDirectory: Send + Sync {
    /// What a token stands for at `path`; `None` where it is none of ours, is meant for another path, has expired or was revoked.
    async fn find(&self, db: &Db, token: &str, path: &str, now_ms: i64) -> db::Result<Option<HeldToken>>;

    /// Verifies the proof that a token was shown with.
    fn verify(&self, proof: &str, of: Asked<'_>, now_ms: i64) -> Result<Proof, Refusal>;

    /// Accepts a proof, this once, and with a nonce of ours where one is asked for.
    async fn accept(&self, api: &Api, proof: &Proof) -> db::Result<Result<(), Refusal>>;
}

/// The request that a bound token is shown with.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    pub method: &'r str,
    pub path: &'r str,
    pub token: &'r str,
}

/// Where sessions are looked up: the feature that owns them.
#[async_trait]
pub trait SessionDirectory: Send + Sync {
    /// The session whose token has this hash; in `account`, or in the one that it is for unless told otherwise.
    async fn find(&self, db: &Db, hash: &SessionHash, account: Option<AccountId>, now_ms: i64)
    -> db::Result<Option<HeldSession>>;
}

/// Where keys are looked up: the feature that owns them.
#[async_trait]
pub trait KeyDirectory: Send + Sync {
    async fn find(&self, db: &Db, hash: &KeyHash) -> db::Result<Option<Held>>;
}

/// How a caller has identified itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal {
    Key(KeyId),
    /// A person who has signed in.
    User {
        id: UserId,
        session_id: SessionId,
        /// The admin who acts as this person.
        impersonator: Option<UserId>,
    },
    /// An application that was let act for an account.
    App {
        client_id: ClientId,
        /// Who agreed; `None` where it acts in its own account.
        user_id: Option<UserId>,
    },
}

/// Someone who has passed every check.
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Principal,
    pub account_id: AccountId,
    pub scopes: Scopes,
    pub address: IpAddr,
    pub request_id: RequestId,
}

impl Caller {
    /// The key that it is, if it is one.
    pub fn key_id(&self) -> Option<KeyId> {
        match self.principal {
            Principal::Key(id) => Some(id),
            Principal::User { .. } | Principal::App { .. } => None,
        }
    }

    /// Whether it may act on every account.
    pub fn is_admin(&self) -> bool {
        self.scopes.contains(ADMIN)
    }

    /// The account that a request is about: the caller's own, or the one an admin names. Another's is not found.
    pub fn account(&self, named: Option<AccountId>) -> Result<AccountId, ApiError> {
        match named {
            Some(other) if other != self.account_id && !self.is_admin() => Err(ApiError::not_found()),
            Some(named) => Ok(named),
            None => Ok(self.account_id),
        }
    }

    /// For statements that keep accounts apart: `None` is every account, for admins only.
    pub fn bounds(&self) -> Option<AccountId> {
        (!self.is_admin()).then_some(self.account_id)
    }
}

/// A scope that operations ask for, as a type.
pub trait Wanted: Send + Sync + 'static {
    const SCOPE: &'static str;
}

macro_rules! wanted {
    ($($name:ident = $scope:literal;)+) => {$(
        #[derive(Debug, Clone, Copy)]
        pub enum $name {}
        impl Wanted for $name {
            const SCOPE: &'static str = $scope;
        }
    )+};
}

wanted! {
    AdminPlatform = "admin:platform";
    DeleteApps = "delete:apps";
    ReadAnalytics = "read:analytics";
    ReadApps = "read:apps";
    ReadAudit = "read:audit";
    ReadBilling = "read:billing";
    ReadEvents = "read:events";
    ReadKeys = "read:keys";
    ReadStores = "read:stores";
    ReadUser = "read:user";
    ReadWebhooks = "read:webhooks";
    WriteApps = "write:apps";
    WriteEvents = "write:events";
    WriteKeys = "write:keys";
    WriteMarketplace = "write:marketplace";
    WriteStores = "write:stores";
    WriteUser = "write:user";
    WriteWebhooks = "write:webhooks";
}

/// A [`Caller`] that holds the scope `S`.
#[derive(Debug)]
pub struct Permit<S> {
    caller: Caller,
    credential: Hash,
    scope: PhantomData<S>,
}

/// What a caller is looked up by, once its form is right.
#[derive(Debug, Clone)]
enum Hash {
    Key(KeyHash),
    Session(SessionHash, Option<AccountId>),
    /// And the path that it is shown at, and the thumbprint of the key that was proved for it.
    Token(Arc<Zeroizing<String>>, Arc<str>, Option<Box<str>>),
}

impl<S> Deref for Permit<S> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<S: Wanted> Permit<S> {
    /// Whether the caller may still do it: for requests that wait, and must end when a key is revoked or a session ends.
    pub async fn still(&self, api: &Api) -> Result<(), ApiError> {
        look_up(api, self.credential.clone(), self.caller.address, Some(S::SCOPE)).await.map(|_| ())
    }
}

impl<S: Wanted> FromRequestParts<Api> for Permit<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let (caller, credential) = identify(parts, api, Some(S::SCOPE)).await?;
        Ok(Self { caller, credential, scope: PhantomData })
    }
}

/// A person who has signed in, for what is theirs and no account's: no scope is asked for, and no key will do.
#[derive(Debug)]
pub struct Person {
    pub user_id: UserId,
    pub session_id: SessionId,
    /// The admin who acts as this person.
    pub impersonator: Option<UserId>,
    /// The token that was presented.
    pub presented: SessionHash,
    /// What pages send beside the token, where it came in a cookie.
    pub csrf: Option<Zeroizing<String>>,
    caller: Caller,
}

impl Deref for Person {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl FromRequestParts<Api> for Person {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let (caller, hash) = identify(parts, api, None).await?;
        let csrf = csrf(&parts.headers)?;
        match (caller.principal, hash) {
            (Principal::User { id, session_id, impersonator }, Hash::Session(presented, _)) => {
                Ok(Self { user_id: id, session_id, impersonator, presented, csrf, caller })
            }
            (Principal::User { .. } | Principal::Key(_) | Principal::App { .. }, _) => {
                Err(ApiError::new(ErrorCode::SignInRequired))
            }
        }
    }
}

/// A person whose browser shows one of our own pages: known by the session's cookie alone. Nobody can send a header
/// from a form without a script, so that a page's form carries the CSRF token itself: whoever acts on one asks
/// [`Browser::sent`] first.
#[derive(Debug)]
pub struct Browser {
    pub user_id: UserId,
    pub session_id: SessionId,
    /// The admin who acts as this person.
    pub impersonator: Option<UserId>,
    /// For the page's form.
    pub csrf: Zeroizing<String>,
    caller: Caller,
    elsewhere: bool,
}

impl Browser {
    /// Whether the form with this token in it was sent from our page, in constant time.
    pub fn sent(&self, given: &str) -> bool {
        !self.elsewhere && bool::from(self.csrf.as_bytes().ct_eq(given.as_bytes()))
    }
}

impl Deref for Browser {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl FromRequestParts<Api> for Browser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let context =
            parts.extensions.get::<Context>().ok_or_else(|| ApiError::internal("a request without its context"))?.clone();
        let Credential::Cookie(token) = credential(&parts.headers)? else {
            return Err(ApiError::new(ErrorCode::SignInRequired));
        };
        let (principal, account_id, scopes) = look_up(api, Hash::Session(token.hash(), None), context.address, None).await?;
        let Principal::User { id, session_id, impersonator } = principal else {
            return Err(ApiError::new(ErrorCode::SignInRequired));
        };
        let caller = Caller { principal, account_id, scopes, address: context.address, request_id: context.request_id };
        let csrf = token.csrf();
        Ok(Self { user_id: id, session_id, impersonator, csrf, caller, elsewhere: is_from_elsewhere(&parts.headers) })
    }
}

fn csrf(headers: &HeaderMap) -> Result<Option<Zeroizing<String>>, ApiError> {
    Ok(match credential(headers)? {
        Credential::Cookie(token) => Some(token.csrf()),
        Credential::Bearer(_) | Credential::Key(_) | Credential::Token(_) | Credential::Bound(..) => None,
    })
}

async fn identify(parts: &Parts, api: &Api, wanted: Option<&str>) -> Result<(Caller, Hash), ApiError> {
    let context = parts.extensions.get::<Context>().ok_or_else(|| ApiError::internal("a request without its context"))?;
    let mut proof = None;
    let hash = match credential(&parts.headers)? {
        Credential::Key(key) => Hash::Key(key.hash()),
        Credential::Token(token) => Hash::Token(Arc::new(token), context.path.clone(), None),
        Credential::Bound(token, shown) => {
            let of = Asked { method: parts.method.as_str(), path: &context.path, token: &token };
            let verified = api.tokens.verify(&shown, of, api.world.now_ms()).map_err(unproved)?;
            let key = proof.insert(verified).thumbprint().into();
            Hash::Token(Arc::new(token), context.path.clone(), Some(key))
        }
        Credential::Bearer(token) => Hash::Session(token.hash(), named_account(&parts.headers)?),
        Credential::Cookie(token) => {
            check_page(&parts.method, &parts.headers, &token)?;
            Hash::Session(token.hash(), named_account(&parts.headers)?)
        }
    };
    let (principal, account_id, scopes) = look_up(api, hash.clone(), context.address, wanted).await?;
    if let Some(proof) = proof {
        api.tokens.accept(api, &proof).await?.map_err(unproved)?;
    }
    Ok((Caller { principal, account_id, scopes, address: context.address, request_id: context.request_id }, hash))
}

fn unproved(refusal: Refusal) -> ApiError {
    let error = ApiError::new(refusal.code());
    match refusal {
        Refusal::Proof(part) => error.with_details(serde_json::json!({ "reason": part })),
        Refusal::Nonce(nonce) => error.with_nonce(nonce),
        _ => error,
    }
}

/// A malformed id names nobody's account.
fn named_account(headers: &HeaderMap) -> Result<Option<AccountId>, ApiError> {
    let mut values = headers.get_all(ACCOUNT_HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(ApiError::new(ErrorCode::AmbiguousRequest)),
        (Some(value), None) => {
            value.to_str().ok().and_then(|text| text.trim().parse().ok()).map(Some).ok_or_else(ApiError::not_found)
        }
    }
}

/// Whose credential this is, if it has passed every check now.
async fn look_up(
    api: &Api,
    hash: Hash,
    address: IpAddr,
    wanted: Option<&str>,
) -> Result<(Principal, AccountId, Scopes), ApiError> {
    let wanted = wanted.map(|scope| scope.parse::<Scope>().expect("the scopes above are well formed"));
    let now_ms = api.world.now_ms();
    match hash {
        Hash::Key(hash) => {
            let held = api.keys.find(&api.db, &hash).await?.ok_or_else(|| ApiError::new(ErrorCode::KeyUnknown))?;
            check(&held, wanted.as_ref(), address, now_ms)?;
            Ok((Principal::Key(held.key_id), held.account_id, held.scopes))
        }
        Hash::Session(hash, account) => {
            let held = api.sessions.find(&api.db, &hash, account, now_ms).await?;
            let held = held.ok_or_else(|| ApiError::new(ErrorCode::SessionUnknown))?;
            let scopes = check_session(&held, wanted.as_ref(), now_ms)?;
            let HeldSession { session_id, user_id, impersonator, account_id, .. } = held;
            Ok((Principal::User { id: user_id, session_id, impersonator }, account_id, scopes))
        }
        Hash::Token(token, path, key) => {
            let held = api.tokens.find(&api.db, &token, &path, now_ms).await?;
            let held = held.ok_or_else(|| ApiError::new(ErrorCode::TokenInvalid))?;
            let HeldToken { client_id, user_id, account_id, scopes, bound } = held;
            if bound != key {
                return Err(unproved(if key.is_none() { Refusal::Unproved } else { Refusal::Proof("key") }));
            }
            if let Some(missing) = wanted.and_then(|wanted| scopes.missing(&Scopes::from(vec![wanted])).cloned()) {
                return Err(ApiError::token_lacks(&missing));
            }
            Ok((Principal::App { client_id, user_id }, account_id, scopes))
        }
    }
}

/// Whether the session is in force, its person a member of the account, and their role enough; what the role allows.
fn check_session(held: &HeldSession, wanted: Option<&Scope>, now_ms: i64) -> Result<Scopes, ApiError> {
    if held.ended || held.expires_at <= now_ms {
        return Err(ApiError::new(ErrorCode::SessionExpired));
    }
    let Some(scopes) = &held.scopes else { return Err(ApiError::not_found()) };
    if held.suspended {
        return Err(ApiError::new(ErrorCode::AccountSuspended));
    }
    match wanted.and_then(|wanted| scopes.missing(&Scopes::from(vec![wanted.clone()])).cloned()) {
        Some(missing) => Err(ApiError::role_lacks(&missing)),
        None => Ok(scopes.clone()),
    }
}

/// The checks of the gateway, in its order. Signatures are not verified here, so that a key which requires them
/// is not taken at all.
fn check(held: &Held, wanted: Option<&Scope>, address: IpAddr, now_ms: i64) -> Result<(), ApiError> {
    if held.revoked {
        return Err(ApiError::new(ErrorCode::KeyRevoked));
    }
    if held.expires_at.is_some_and(|at| at <= now_ms) {
        return Err(ApiError::new(ErrorCode::KeyExpired));
    }
    if held.suspended {
        return Err(ApiError::new(ErrorCode::AccountSuspended));
    }
    if !held.allowed.is_empty() && !held.allowed.iter().any(|net| net.contains(&address)) {
        return Err(ApiError::new(ErrorCode::AddressNotAllowed));
    }
    if held.requires_signature {
        let message = "The key may only be used for signed requests, which this API does not take; use another key.";
        return Err(ApiError::saying(ErrorCode::SignatureMissing, message));
    }
    match wanted.and_then(|wanted| held.scopes.missing(&Scopes::from(vec![wanted.clone()])).cloned()) {
        Some(missing) => Err(ApiError::scope_missing(&missing)),
        None => Ok(()),
    }
}
