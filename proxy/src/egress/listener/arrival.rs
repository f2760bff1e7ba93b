//! Who sends, and for which webhook: the checks of the gateway, in its order, and nothing charged.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use clearway_config::{PlainKey, Scopes, WebhookId, scope};
use clearway_filters::{
    Reject, access,
    request::{Credential, RequestView},
};
use http::{Method, request::Parts};

use super::{answer::Stop, entry::Entry};
use crate::{
    gateway::{State, now_ms},
    snapshot::Webhook,
};

const PATH: &str = "/webhooks/";
static WANTED: LazyLock<Scopes> =
    LazyLock::new(|| [scope::WRITE_WEBHOOKS.parse().expect("a scope of our own")].into_iter().collect());

/// A request that may be passed on.
pub(super) struct Arrival {
    pub(super) webhook: Arc<Webhook>,
}

impl Arrival {
    /// `entry` is told what was found, as far as it came.
    pub(super) fn read(state: &State, parts: &Parts, peer: IpAddr, entry: &mut Entry) -> Result<Self, Stop> {
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let view = RequestView::read(parts, target.as_bytes(), peer, &state.trusted_proxies)?;
        entry.read(&view, parts);
        if state.gate.is_crowded() {
            return Err(Reject::Overloaded.into());
        }
        let id = view.path().strip_prefix(PATH).ok_or(Reject::RouteNotFound)?;
        if view.method() != Method::POST {
            return Err(Stop::NotPost);
        }
        let key = match view.credential() {
            Credential::Key(key) => key,
            Credential::None => return Err(Reject::KeyMissing.into()),
            Credential::Token(_) | Credential::Bound(_) | Credential::Other => return Err(Reject::CredentialNotAccepted.into()),
        };
        let snapshot = &state.snapshot;
        if !snapshot.is_ready() {
            return Err(Reject::NotReady.into());
        }
        if !snapshot.lease().holds() {
            return Err(Reject::AuthLeaseExpired.into());
        }
        let hash = PlainKey::parse(key).map_err(|_| Reject::KeyMalformed)?.hash();
        let pinned = snapshot.pin();
        let found = pinned.find(&hash).ok_or(Reject::KeyUnknown)?;
        (entry.account, entry.key) = (Some(found.account_id()), Some(found.key_id()));
        access::check(&found.held(), &WANTED, view.address(), now_ms())?;
        // Such a key is good for signed requests alone, and signatures are not looked at here.
        if found.requires_signature() {
            return Err(Reject::CredentialNotAccepted.into());
        }
        let webhook = id.parse::<WebhookId>().ok().and_then(|id| snapshot.webhook(&id)).ok_or(Stop::NotFound)?;
        entry.webhook = Some(webhook.id);
        // Another account's is not found.
        if found.account_id() != webhook.account && !found.scopes().contains(scope::ADMIN) {
            return Err(Stop::NotFound);
        }
        Ok(Self { webhook })
    }
}
