//! A browser on its way to a provider and back. It is known by a cookie, and `state` names the way: what comes back without
//! both, or a second time, is nobody's (RFC 9700, 4.7). Nonce and verifier follow from both and are stored nowhere.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clearway_config::{ErrorCode, SessionId, UserId};
use ring::hmac;
use url::Url;
use zeroize::Zeroizing;

use super::store::{self, Known, Request};
use crate::{
    auth::{Once, Visitor, count_begun},
    http::{Api, ApiError},
    providers::{Fault, Provider},
};

/// How long a person has at the provider.
pub(super) const GOOD_MS: i64 = 10 * 60 * 1_000;
/// The cookie that a browser is known by meanwhile.
pub(super) const COOKIE: &str = "__Host-clearway_provider";

/// Where to send the browser, and what to know it by.
pub(super) struct Begun {
    pub(super) url: Url,
    pub(super) cookie: Once,
    pub(super) expires_at: i64,
}

/// Begins a way to the provider, where the person is to show `anew` who they are. A cookie that the browser has is kept: it
/// may be on several ways at once.
pub(super) async fn begin(
    api: &Api,
    provider: &Provider,
    visitor: &Visitor,
    return_to: String,
    link: Option<(UserId, SessionId)>,
    anew: bool,
) -> Result<Begun, ApiError> {
    let cookie = visitor.cookie(COOKIE).and_then(Once::parse).unwrap_or_else(|| Once::mint(&api.world));
    let state = Once::mint(&api.world);
    let now_ms = api.world.now_ms();
    let expires_at = now_ms + GOOD_MS;
    let mut tx = api.db.begin().await?;
    let counted = count_begun(&mut tx, &api.world, visitor.address).await;
    if counted.is_ok() {
        let known = Known { state: state.hash(), browser: cookie.hash(), provider: &provider.name };
        store::insert_request(&mut tx, known, &Request { return_to, link }, now_ms, expires_at).await?;
    }
    tx.commit().await?;
    counted?;
    // Not within the transaction: it may ask the provider.
    let asked = provider.location(state.reveal(), &nonce(&cookie, &state), &verifier(&cookie, &state), anew).await;
    let url = asked.map_err(|fault| refusal(provider, &fault))?;
    Ok(Begun { url, cookie, expires_at })
}

/// The way that a browser has come back from.
pub(super) async fn take(api: &Api, provider: &Provider, cookie: &Once, state: &Once) -> Result<Request, ApiError> {
    let mut tx = api.db.begin().await?;
    let known = Known { state: state.hash(), browser: cookie.hash(), provider: &provider.name };
    let taken = store::take_request(&mut tx, known, api.world.now_ms()).await?;
    tx.commit().await?;
    taken.ok_or_else(|| ApiError::new(ErrorCode::ProviderAnswerUnknown))
}

pub(super) fn nonce(cookie: &Once, state: &Once) -> Zeroizing<String> {
    derived("nonce", cookie, state)
}

pub(super) fn verifier(cookie: &Once, state: &Once) -> Zeroizing<String> {
    derived("verifier", cookie, state)
}

/// 43 characters that nobody knows who has not both.
fn derived(what: &str, cookie: &Once, state: &Once) -> Zeroizing<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, cookie.reveal().as_bytes());
    let tag = hmac::sign(&key, format!("{what}\0{}", state.reveal()).as_bytes());
    Zeroizing::new(URL_SAFE_NO_PAD.encode(tag))
}

/// What a person is told; the log is told why.
pub(super) fn refusal(provider: &Provider, fault: &Fault) -> ApiError {
    let code = match fault {
        Fault::Busy => ErrorCode::SignInBusy,
        Fault::Code(_) => ErrorCode::ProviderAnswerUnknown,
        Fault::Fetch(_) | Fault::Slow | Fault::Malformed(_) | Fault::Issuer(_) | Fault::Token(_) => ErrorCode::ProviderUnusable,
    };
    tracing::warn!(provider = %provider.name, error.cause = crate::http::chain(fault), "a provider's answer was refused");
    ApiError::new(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[test]
    fn what_is_derived_differs_by_purpose_browser_and_way() {
        let world = World::fixed(0, 1);
        let (cookie, other) = (Once::mint(&world), Once::mint(&world));
        let (state, another) = (Once::mint(&world), Once::mint(&world));
        let first = verifier(&cookie, &state);
        assert_eq!(first.len(), 43, "as RFC 7636 wants it");
        assert_eq!(first, verifier(&cookie, &state));
        for differs in [nonce(&cookie, &state), verifier(&other, &state), verifier(&cookie, &another)] {
            assert_ne!(first, differs);
        }
    }
}
