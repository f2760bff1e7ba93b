//! Who is asking, and may they. A handler states what it needs in the type of its argument,
//! [`Permit<S>`], and so cannot run without having been allowed to.
//!
//! The gateway has checked the key already, but this listener does not rely on that: it looks the key up
//! itself, with the same checks in the same order and the same codes. It counts nothing.

use std::{marker::PhantomData, net::IpAddr, ops::Deref};

use async_trait::async_trait;
use axum::extract::FromRequestParts;
use clearway_config::{AccountId, ErrorCode, KeyHash, KeyId, PlainKey, RequestId, Scope, Scopes, scope::ADMIN};
use http::{HeaderMap, header, request::Parts};
use ipnet::IpNet;

use super::{Api, ApiError, Context};
use crate::db::{self, Db};

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

/// Where keys are looked up: the feature that owns them.
#[async_trait]
pub trait KeyDirectory: Send + Sync {
    async fn find(&self, db: &Db, hash: &KeyHash) -> db::Result<Option<Held>>;
}

/// A key that has passed every check.
#[derive(Debug, Clone)]
pub struct Caller {
    pub key_id: KeyId,
    pub account_id: AccountId,
    pub scopes: Scopes,
    pub address: IpAddr,
    pub request_id: RequestId,
}

impl Caller {
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
    ReadAnalytics = "read:analytics";
    ReadAudit = "read:audit";
    ReadBilling = "read:billing";
    ReadEvents = "read:events";
    ReadKeys = "read:keys";
    ReadStores = "read:stores";
    ReadWebhooks = "read:webhooks";
    WriteEvents = "write:events";
    WriteKeys = "write:keys";
    WriteStores = "write:stores";
    WriteWebhooks = "write:webhooks";
}

/// A [`Caller`] that holds the scope `S`.
#[derive(Debug)]
pub struct Permit<S> {
    caller: Caller,
    hash: KeyHash,
    scope: PhantomData<S>,
}

impl<S> Deref for Permit<S> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<S: Wanted> Permit<S> {
    /// Whether the key may still do it: for requests that wait, and must end when it is revoked.
    pub async fn still(&self, api: &Api) -> Result<(), ApiError> {
        held::<S>(api, &self.hash, self.caller.address).await.map(|_| ())
    }
}

impl<S: Wanted> FromRequestParts<Api> for Permit<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let context = parts.extensions.get::<Context>().ok_or_else(|| ApiError::internal("a request without its context"))?;
        let hash = credential(&parts.headers)?.hash();
        let Held { key_id, account_id, scopes, .. } = held::<S>(api, &hash, context.address).await?;
        let caller = Caller { key_id, account_id, scopes, address: context.address, request_id: context.request_id };
        Ok(Self { caller, hash, scope: PhantomData })
    }
}

/// A key that has passed every check now.
async fn held<S: Wanted>(api: &Api, hash: &KeyHash, address: IpAddr) -> Result<Held, ApiError> {
    let held = api.keys.find(&api.db, hash).await?.ok_or_else(|| ApiError::new(ErrorCode::KeyUnknown))?;
    let scope: Scope = S::SCOPE.parse().expect("the scopes above are well formed");
    check(&held, &scope, address, api.world.now_ms())?;
    Ok(held)
}

/// The checks of the gateway, in its order. Signatures are not verified here, so that a key which requires them
/// is not taken at all.
fn check(held: &Held, wanted: &Scope, address: IpAddr, now_ms: i64) -> Result<(), ApiError> {
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
    match held.scopes.missing(&Scopes::from(vec![wanted.clone()])) {
        Some(missing) => Err(ApiError::scope_missing(missing)),
        None => Ok(()),
    }
}

/// The one key that a request carries, as `Authorization: Bearer` or `X-API-Key`, or the same in both.
fn credential(headers: &HeaderMap) -> Result<PlainKey, ApiError> {
    let only = |name: &str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(ApiError::new(ErrorCode::AmbiguousRequest)),
            (first, None) => Ok(first.map(|value| value.as_bytes().trim_ascii())),
        }
    };
    let bearer = match only(header::AUTHORIZATION.as_str())? {
        Some(value) if value.len() > 7 && value[..7].eq_ignore_ascii_case(b"bearer ") => Some(value[7..].trim_ascii()),
        Some(_) => return Err(ApiError::new(ErrorCode::KeyMalformed)),
        None => None,
    };
    let key = match (bearer, only("x-api-key")?) {
        (Some(bearer), Some(other)) if bearer != other => return Err(ApiError::new(ErrorCode::AmbiguousRequest)),
        (Some(key), _) | (None, Some(key)) => key,
        (None, None) => return Err(ApiError::new(ErrorCode::KeyMissing)),
    };
    PlainKey::parse(key).map_err(|_| ApiError::new(ErrorCode::KeyMalformed))
}
