//! Who asks, whether they may, and what it is charged to: a key and its account, an account alone, or the
//! address of an anonymous request.

use std::sync::Arc;

use clearway_config::{
    AccountId, OnQuotaStoreLoss, PlainKey, Scopes,
    settings::{
        Auth, Route,
        gateway::{AuthMethod, Policy, issuer::OWN_ISSUER_INDEX},
    },
};
use clearway_filters::{
    Reject, access,
    credential::{self, Chosen, Offered},
    jwt, policy,
    quota::Now,
    request::{Credential, RequestView},
    signature::{self, Body, Presented},
};

use super::{
    counted_at,
    decide::{Charge, Facts, Grounds, Incoming},
    due::{Bill, Due},
    proved::Shown,
    signed::{Seal, Verified},
    texts::{Word, Writer},
};
use crate::{
    lease::Wanted,
    ledger::{Ledger, SlotId, Subject},
    snapshot::{Found, FoundAccount, SlotCache, View},
    tls::client::ClientCertificate,
};

/// A request on its way to being admitted.
struct Caller<'c, 'r> {
    incoming: &'c Incoming<'r>,
    view: &'c RequestView<'r>,
    route: &'c Route,
    on: &'c Grounds<'c>,
    /// Whether a charge can wait for the body, which goes on to an upstream.
    waits: bool,
}

/// Authenticates, authorises and charges.
pub(super) fn admit(
    incoming: &Incoming<'_>,
    view: &RequestView<'_>,
    route: &Route,
    on: &Grounds<'_>,
    waits: bool,
    facts: &mut Facts,
    words: &mut Writer,
) -> Result<Charge, Reject> {
    if route.auth == Auth::Open {
        return Ok(Charge::Nothing);
    }
    let caller = Caller { incoming, view, route, on, waits };
    let chosen = match view.credential() {
        // Nearly every request.
        Credential::Key(key) if route.auth == Auth::KEY => Chosen::Key(key),
        credential => {
            let signature = view.is_signed() && route.auth.takes(AuthMethod::Signature) && is_by_a_key(incoming)?;
            let offered = Offered { credential, signature, certificate: certificate_of(incoming).is_some() };
            credential::choose(route.auth, offered)?
        }
    };
    let stranger = match chosen {
        Chosen::Session => Some(AuthMethod::Session),
        Chosen::Nothing => Some(AuthMethod::Anonymous),
        Chosen::Key(_) | Chosen::Token(_) | Chosen::Bound(_) | Chosen::Signature | Chosen::Certificate => None,
    };
    if stranger.is_some() {
        facts.auth = stranger;
        return caller.anonymous();
    }
    if !on.snapshot.is_ready() {
        return Err(Reject::NotReady);
    }
    if !on.snapshot.lease().holds() {
        return Err(Reject::AuthLeaseExpired);
    }
    let pinned = on.snapshot.pin();
    match chosen {
        Chosen::Key(key) => caller.by_key(&pinned, key, facts, words),
        Chosen::Signature => caller.by_signature(&pinned, facts, words),
        Chosen::Token(token) => caller.by_token(&pinned, token, None, facts, words),
        Chosen::Bound(token) => caller.by_token(&pinned, token, Some(Shown::of(incoming, view)?), facts, words),
        Chosen::Certificate => caller.by_certificate(&pinned, facts, words),
        Chosen::Session | Chosen::Nothing => Err(Reject::CredentialMissing),
    }
}

/// Whether one of the request's signatures says that it is by a key of ours.
fn is_by_a_key(incoming: &Incoming<'_>) -> Result<bool, Reject> {
    Ok(Presented::read(&incoming.parts.headers)?.is_some())
}

impl Caller<'_, '_> {
    fn by_key(&self, pinned: &View<'_>, key: &[u8], facts: &mut Facts, words: &mut Writer) -> Result<Charge, Reject> {
        facts.auth = Some(AuthMethod::Key);
        let hash = PlainKey::parse(key).map_err(|_| Reject::KeyMalformed)?.hash();
        let found = pinned.find(&hash).ok_or(Reject::KeyUnknown)?;
        self.by_holder(pinned, &found, None, facts, words)
    }

    /// Nothing but the signature says whose key it is.
    fn by_signature(&self, pinned: &View<'_>, facts: &mut Facts, words: &mut Writer) -> Result<Charge, Reject> {
        facts.auth = Some(AuthMethod::Signature);
        let verified = Verified::read(self.incoming, pinned, self.on.replays, None)?;
        let found = pinned.find(&verified.hash).ok_or(signature::Refusal::Invalid)?;
        self.by_holder(pinned, &found, Some(verified), facts, words)
    }

    fn by_holder(
        &self,
        pinned: &View<'_>,
        found: &Found<'_>,
        verified: Option<Verified>,
        facts: &mut Facts,
        words: &mut Writer,
    ) -> Result<Charge, Reject> {
        let on = self.on;
        if let (Some(account), Some(key)) = (found.account_slot().load(), found.key_slot().load()) {
            // Their counts come from memory while the checks below run.
            on.ledger.prefetch(SlotId(account), SlotId(key));
        }
        let (account, key) = (found.account_id(), found.key_id());
        (facts.account, facts.key) = (Some(account), Some(key));
        words.put(Word::AccountId, account);
        words.put(Word::KeyId, key);
        words.put(Word::Plan, found.plan());

        self.check_certificate(account)?;
        access::check(&found.held(), self.route.scopes_for(self.view.method()), self.view.address(), self.incoming.now_ms)?;
        self.narrow(found.policies(), facts)?;
        let verified = match verified {
            None if found.requires_signature() => {
                let verified = Verified::read(self.incoming, pinned, on.replays, Some(key))?;
                // It may have been made beside another secret of the key, and ends with that one.
                let beside = pinned.find(&verified.hash).ok_or(signature::Refusal::Invalid)?;
                if beside.key_id() != key || !beside.held().is_live(self.incoming.now_ms) {
                    return Err(signature::Refusal::Invalid.into());
                }
                Some(verified)
            }
            verified => verified,
        };
        let account = (slot(on.ledger, found.account_slot(), || Subject::Account(account))?, found.account_limits());
        let key = (slot(on.ledger, found.key_slot(), || Subject::Key(key))?, found.key_limits());
        let (now, seal) = (counted_at(on.leases, self.incoming.now_ms), verified.map(|verified| verified.seal));
        facts.signed = seal.is_some();
        let (bill, on_loss) =
            (|| Bill::Key { account: (account.0, *account.1), key: (key.0, *key.1) }, found.on_quota_store_loss());
        if self.waits_for_body(seal.as_ref()) {
            let would = on.ledger.would_admit(&now, account, Some(key));
            would.inspect_err(|reject| facts.wanted = Wanted::of(reject, bill, on_loss))?;
            return Ok(self.due(bill(), on_loss, seal));
        }
        let admit = || on.ledger.admit(&now, self.incoming.request_id, self.view.address(), account, key).map(Charge::Admission);
        let admitted = match seal {
            None => admit(),
            Some(seal) => seal.once(self.incoming.now_ms, on.replays, admit),
        };
        admitted.inspect_err(|reject| facts.wanted = Wanted::of(reject, bill, on_loss))
    }

    /// `shown` is the proof that the token came with, where it is said to be bound to a key.
    fn by_token(
        &self,
        pinned: &View<'_>,
        token: &[u8],
        shown: Option<Shown<'_>>,
        facts: &mut Facts,
        words: &mut Writer,
    ) -> Result<Charge, Reject> {
        facts.auth = Some(AuthMethod::Jwt);
        let own = self.route.issuers.contains(&OWN_ISSUER_INDEX).then(|| self.on.snapshot.token_issuer()).flatten();
        let verified = self.on.table.callers.token(token, &self.route.issuers, own.as_ref(), self.incoming.now_ms)?;
        if self.on.snapshot.are_revoked(verified.names()) {
            return Err(jwt::Refusal::Revoked.into());
        }
        let claims = &verified.claims;
        if !claims.covers(self.view.path()) {
            return Err(jwt::Refusal::Audience.into());
        }
        let proof = match (shown, &claims.bound) {
            (None, None) => None,
            (None, Some(_)) => return Err(jwt::Refusal::Unproved.into()),
            (Some(shown), bound) => Some(shown.of_token(token, bound.as_deref(), own.as_deref(), self.incoming.now_ms)?),
        };
        let index = match verified.account_index() {
            Some(index) => index,
            None => {
                let index = pinned.account_index(&claims.account).ok_or(jwt::Refusal::AccountUnknown)?;
                verified.remember_account(index);
                index
            }
        };
        let charge = |facts: &mut Facts, words: &mut Writer| {
            self.by_account(pinned.account(index), &claims.scopes, claims.subject.as_deref(), facts, words)
        };
        match proof {
            None => charge(facts, words),
            Some(proof) => proof.once(self.incoming.now_ms, self.on.replays, || charge(facts, words)),
        }
    }

    fn by_certificate(&self, pinned: &View<'_>, facts: &mut Facts, words: &mut Writer) -> Result<Charge, Reject> {
        facts.auth = Some(AuthMethod::Mtls);
        let certificate = certificate_of(self.incoming).ok_or(Reject::CertificateMissing)?;
        let mapping = self.on.table.callers.certificate(certificate)?;
        let index = pinned.account_index(&mapping.account).ok_or(Reject::CertificateUnknown)?;
        self.by_account(pinned.account(index), &mapping.scopes, Some(&mapping.name), facts, words)
    }

    /// Charges an account whose caller has no key: its own limits hold, and no others.
    fn by_account(
        &self,
        found: FoundAccount<'_>,
        scopes: &Scopes,
        subject: Option<&str>,
        facts: &mut Facts,
        words: &mut Writer,
    ) -> Result<Charge, Reject> {
        let account = found.id();
        facts.account = Some(account);
        words.put(Word::AccountId, account);
        words.put(Word::Plan, found.plan());
        if let Some(subject) = subject {
            words.put(Word::Subject, subject);
        }
        if facts.auth != Some(AuthMethod::Mtls) {
            self.check_certificate(account)?;
        }
        let held = access::Held { revoked: false, expires_at: None, suspended: found.is_suspended(), allowed: &[], scopes };
        access::check(&held, self.route.scopes_for(self.view.method()), self.view.address(), self.incoming.now_ms)?;
        self.narrow(found.policies(), facts)?;
        let slot = slot(self.on.ledger, found.slot(), || Subject::Account(account))?;
        let now = counted_at(self.on.leases, self.incoming.now_ms);
        let (bill, on_loss) = (|| Bill::Account((slot, *found.limits())), found.on_quota_store_loss());
        if self.waits_for_body(None) {
            let would = self.on.ledger.would_admit(&now, (slot, found.limits()), None);
            would.inspect_err(|reject| facts.wanted = Wanted::of(reject, bill, on_loss))?;
            return Ok(self.due(bill(), on_loss, None));
        }
        let (request_id, address) = (self.incoming.request_id, self.view.address());
        let admitted = self.on.ledger.admit_account(&now, request_id, address, (slot, found.limits()));
        admitted.map(Charge::Admission).inspect_err(|reject| facts.wanted = Wanted::of(reject, bill, on_loss))
    }

    /// Whether the request's body is read whole before anything is sent on, and may be refused.
    fn waits_for_body(&self, seal: Option<&Seal>) -> bool {
        let is_signed = seal.is_some_and(|seal| seal.digest.is_some());
        let is_changed = || self.route.policy.request_json.is_some() && !self.view.is_upgrade();
        self.waits && self.incoming.body == Body::Follows && (is_signed || is_changed())
    }

    fn due(&self, bill: Bill, on_loss: OnQuotaStoreLoss, seal: Option<Seal>) -> Charge {
        Charge::Due(Box::new(Due { bill, on_loss, address: self.view.address(), seal }))
    }

    /// Lets the account's own policies judge the request, after the route's have. Nearly no account has any.
    fn narrow(&self, names: &[Box<str>], facts: &mut Facts) -> Result<(), Reject> {
        if names.is_empty() {
            return Ok(());
        }
        let mut merged = Policy::default();
        for name in names {
            // What such a policy would have forbidden cannot be known.
            merged = merged.merge(self.on.table.policies.get(&**name).ok_or(Reject::AccountPolicyUnknown)?);
        }
        let merged = facts.account_policy.insert(Arc::new(merged));
        policy::check(merged, self.view.address(), &self.incoming.parts.headers)
    }

    fn anonymous(&self) -> Result<Charge, Reject> {
        let limits = self.route.anonymous.as_ref().ok_or(Reject::CredentialMissing)?;
        // Addresses are counted by this process alone.
        let now = Now::at(self.incoming.now_ms);
        let (addresses, from) = (self.on.table.callers.addresses(), self.view.address());
        if self.waits_for_body(None) {
            addresses.would_admit(&now, &self.route.name, from, limits)?;
            return Ok(self.due(Bill::Anonymous, OnQuotaStoreLoss::default(), None));
        }
        addresses.admit(&now, &self.route.name, from, limits).map(Charge::Visit)
    }

    /// Where the route asks for a certificate beside the credential: both are of the same account.
    fn check_certificate(&self, account: AccountId) -> Result<(), Reject> {
        if !matches!(self.route.auth, Auth::WithCertificate(_)) {
            return Ok(());
        }
        let certificate = certificate_of(self.incoming).ok_or(Reject::CertificateMissing)?;
        let mapping = self.on.table.callers.certificate(certificate)?;
        if mapping.account == account { Ok(()) } else { Err(Reject::CertificateUnknown) }
    }
}

/// What the client has proved in the TLS handshake.
fn certificate_of<'r>(incoming: &Incoming<'r>) -> Option<&'r ClientCertificate> {
    incoming.tls.and_then(|tls| tls.client.as_ref())
}

/// Where a subject is counted: remembered, or asked for once.
fn slot(ledger: &Ledger, held: &SlotCache, subject: impl FnOnce() -> Subject) -> Result<SlotId, Reject> {
    if let Some(slot) = held.load() {
        return Ok(SlotId(slot));
    }
    let slot = ledger.slot(&subject()).map_err(|e| {
        tracing::error!(error = &e as &dyn std::error::Error, "ledger cannot count a new subject");
        Reject::LedgerUnavailable
    })?;
    held.store(slot.0);
    Ok(slot)
}
