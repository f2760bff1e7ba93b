//! Every error that either plane can answer, in one place: its code, its status, what it means.
//!
//! The code is the contract with clients: it may gain members, never change meaning. `docs/errors.md`
//! is generated from this file.

use serde::Serialize;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal;)+) => {
        /// What went wrong, for a program to match on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {$(
            $(#[doc = $doc])+
            $name,
        )+}

        impl ErrorCode {
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name),+];

            /// The word in the body, in logs and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self {$(ErrorCode::$name => $code),+}
            }

            /// The HTTP status it is answered with.
            pub const fn status(self) -> u16 {
                match self {$(ErrorCode::$name => $status),+}
            }

            /// What it means and what to do about it.
            pub const fn meaning(self) -> &'static str {
                match self {$(ErrorCode::$name => concat!($($doc),+).trim_ascii()),+}
            }
        }
    };
}

codes! {
    /// The request can be read in more than one way: a path with `..`, an encoded slash or a control character, or a repeated Host or credential header.
    AmbiguousRequest = "ambiguous_request", 400;
    /// The request's head is too large: unless the gateway is set otherwise, more than 64 KiB or more than 128 headers.
    HeadTooLarge = "head_too_large", 431;
    /// The request's target is too long: unless the gateway is set otherwise, more than 16 KiB.
    UriTooLong = "uri_too_long", 414;
    /// The request's head or body came too slowly, or stopped coming.
    RequestTimeout = "request_timeout", 408;
    /// There are too many connections from this address at the same time.
    ConnectionsExceeded = "connections_exceeded", 429;
    /// The gateway has as many connections as it can have, or no memory or descriptors left for this one, or holds as many bodies as it has room for; `Retry-After` says when to come back.
    GatewayOverloaded = "gateway_overloaded", 503;
    /// This connection may not be used for this host: its client certificate was shown to another name. Open a connection of its own.
    MisdirectedRequest = "misdirected_request", 421;
    /// The gateway answers encrypted requests only: `Location` says where.
    HttpsRequired = "https_required", 308;
    /// No route matches the host and path.
    RouteNotFound = "route_not_found", 404;
    /// A route matches the host and path, but not the method.
    MethodNotAllowed = "method_not_allowed", 405;
    /// The route asks for an API key and the request carries none: send `Authorization: Bearer clw_…` or `X-API-Key: clw_…`.
    KeyMissing = "key_missing", 401;
    /// What was sent is not a key: prefix, length or checksum is wrong. Often a key that was cut when it was copied.
    KeyMalformed = "key_malformed", 401;
    /// The key is well formed, but no account has it.
    KeyUnknown = "key_unknown", 401;
    /// The key, or this secret of it, has been revoked.
    KeyRevoked = "key_revoked", 401;
    /// The key, or this secret of it, has expired.
    KeyExpired = "key_expired", 401;
    /// The key may only be used for signed requests (RFC 9421), and this one carries no signature.
    SignatureMissing = "signature_missing", 401;
    /// The signature is not one that is taken: a field that cannot be read, a part of the request that it must cover and does not, or another algorithm than hmac-sha256; `details` names which.
    SignatureMalformed = "signature_malformed", 401;
    /// The signature is not that of this request and this key.
    SignatureInvalid = "signature_invalid", 401;
    /// The signature was made too long ago or in the future, or before this gateway started: `created` must be at most five minutes old and half a minute ahead, and `expires` not past. Sign the request anew.
    SignatureExpired = "signature_expired", 401;
    /// A request with this signature has been accepted already. Sign each request anew, with a `nonce`.
    SignatureReplayed = "signature_replayed", 401;
    /// The body is not the one that Content-Digest was computed over.
    ContentDigestMismatch = "content_digest_mismatch", 400;
    /// Too many signed requests are remembered to rule out that this one is a repetition.
    ReplayWindowFull = "replay_window_full", 503;
    /// No session has this token: it was never given out, or has been replaced by a newer one.
    SessionUnknown = "session_unknown", 401;
    /// The session has ended: by signing out, by not being used for too long, or by a change of password. Sign in again.
    SessionExpired = "session_expired", 401;
    /// A request that a browser's cookie stands for must carry the session's CSRF token in `X-CSRF-Token`, and come from a page of this site.
    CsrfTokenInvalid = "csrf_token_invalid", 403;
    /// Only a person who has signed in may do this: a key cannot.
    SignInRequired = "sign_in_required", 403;
    /// Address and password do not belong together, or the address has not been proved yet.
    CredentialsInvalid = "credentials_invalid", 401;
    /// The code is not one of the authenticator app now, was used already, and is no recovery code; or the passkey's answer is not the one that was asked for.
    SecondFactorInvalid = "second_factor_invalid", 401;
    /// What the authenticator has made is not for this site, not to a challenge that was given out within five minutes, or of a kind that is not taken; `details` says which.
    PasskeyInvalid = "passkey_invalid", 400;
    /// There are no passkeys here: `control.public_url` must begin with https:// and name a host, or be http://localhost.
    PasskeysUnavailable = "passkeys_unavailable", 409;
    /// Too many attempts for this address, or from this one: `retry_after` in the details says for how many seconds. A device on which the person has signed in before is counted by itself; a mailed link signs in elsewhere.
    SignInLocked = "sign_in_locked", 429;
    /// More passwords are being looked at than can be at once. Try again in a moment.
    SignInBusy = "sign_in_busy", 503;
    /// The token from the mail was used already, has run out, or was never given out. Ask for another.
    OneTimeTokenInvalid = "one_time_token_invalid", 400;
    /// Nobody can register here by themselves; ask whoever runs this, or a member of an account, to be invited.
    RegistrationClosed = "registration_closed", 403;
    /// What the provider sent back belongs to no sign-in that this browser has begun within the last ten minutes, or was used already. Begin anew.
    ProviderAnswerUnknown = "provider_answer_unknown", 400;
    /// The person was not let in by the provider, or has changed their mind there.
    ProviderDenied = "provider_denied", 403;
    /// The provider cannot be reached, or what it says cannot be believed. Trying again may help; if it does not, whoever runs this finds the reason in the log.
    ProviderUnusable = "provider_unusable", 502;
    /// The provider vouches for no address of this person: prove one there, or register here by address and password.
    ProviderAddressUnverified = "provider_address_unverified", 403;
    /// An account here has the provider's address already. Sign in to it as usual, and link the provider there.
    IdentityUnlinked = "identity_unlinked", 409;
    /// The route asks callers to identify themselves and the request carries no credential; WWW-Authenticate names what would do.
    CredentialMissing = "credential_missing", 401;
    /// The request carries a credential of a kind that this route does not take; WWW-Authenticate names what would do.
    CredentialNotAccepted = "credential_not_accepted", 401;
    /// What was sent is not a token, or is larger than 8 KiB.
    TokenMalformed = "token_malformed", 401;
    /// The token is from an issuer that is not trusted here.
    TokenIssuerUnknown = "token_issuer_unknown", 401;
    /// The issuer's keys do not hold the one that the token was signed with. Where the issuer has just changed its keys, trying again a moment later helps.
    TokenKeyUnknown = "token_key_unknown", 401;
    /// The token's signature is wrong, or it is of a kind that its issuer's tokens are not taken as; `details` says what.
    TokenInvalid = "token_invalid", 401;
    /// The token has expired, or is older than its issuer's tokens are taken.
    TokenExpired = "token_expired", 401;
    /// The token, or the access that it is of, was revoked.
    TokenRevoked = "token_revoked", 401;
    /// The token is not valid yet.
    TokenNotYetValid = "token_not_yet_valid", 401;
    /// The token is meant for another audience.
    TokenAudience = "token_audience", 401;
    /// The token is good, but stands for no account that is known here.
    TokenAccountUnknown = "token_account_unknown", 403;
    /// The token is bound to a key (DPoP, RFC 9449): it must be shown as `Authorization: DPoP`, with one proof in the header `DPoP`.
    TokenProofMissing = "token_proof_missing", 401;
    /// The proof in the header `DPoP` is not by the token's key, not for this request, older than a minute, from before this gateway started, or was shown before; `details` says what is wrong. Make a proof for each request.
    TokenProofInvalid = "token_proof_invalid", 401;
    /// The proof in the header `DPoP` must carry a nonce, which is in the header `DPoP-Nonce` of this answer. Make a proof with it, and ask again.
    TokenNonceRequired = "token_nonce_required", 401;
    /// The issuer's keys have not been fetched yet, or not for too long, so that its tokens can be neither accepted nor refused.
    IssuerKeysUnavailable = "issuer_keys_unavailable", 503;
    /// The route asks for a client certificate and the connection has none.
    CertificateMissing = "certificate_missing", 401;
    /// The client certificate stands for no account, or for another one than the credential beside it.
    CertificateUnknown = "certificate_unknown", 401;
    /// The account that owns the key is suspended.
    AccountSuspended = "account_suspended", 403;
    /// The account has a policy that this gateway does not hold: none of its requests are served until it does.
    AccountPolicyUnknown = "account_policy_unknown", 503;
    /// The key may not be used from this address, or the route takes no requests from there.
    AddressNotAllowed = "address_not_allowed", 403;
    /// The key lacks a scope that the route or operation asks for.
    ScopeMissing = "scope_missing", 403;
    /// Too many requests in this second.
    RateLimitExceeded = "rate_limit_exceeded", 429;
    /// The requests of this day or month are used up.
    QuotaExceeded = "quota_exceeded", 429;
    /// Too many requests are being served at the same time.
    ConcurrencyExceeded = "concurrency_exceeded", 429;
    /// The store that this fleet's gateways share their quotas by cannot be reached, and the account's plan admits nothing more without it; `Retry-After` says when to come back.
    QuotaStoreUnavailable = "quota_store_unavailable", 503;
    /// The gateway has not heard from its control plane for the auth lease and refuses to decide by what may be out of date.
    AuthLeaseExpired = "auth_lease_expired", 503;
    /// The gateway has not received its keys and plans yet.
    NotReady = "not_ready", 503;
    /// The quota ledger cannot record the request.
    LedgerUnavailable = "ledger_unavailable", 503;
    /// The upstream refused the connection or broke it off.
    UpstreamUnreachable = "upstream_unreachable", 502;
    /// The upstream did not answer in time.
    UpstreamTimeout = "upstream_timeout", 504;
    /// The request wants an answer from the cache only, and none is kept that does.
    NotCached = "not_cached", 504;
    /// Every target of the upstream has as many requests in flight as it may have; `Retry-After` says when to come back.
    UpstreamOverloaded = "upstream_overloaded", 503;
    /// Too many requests to the upstream have failed: it is left alone for a while; `Retry-After` says for how long.
    UpstreamCircuitOpen = "upstream_circuit_open", 503;
    /// The route is closed for a while; `Retry-After` says when to come back.
    Maintenance = "maintenance", 503;
    /// The gateway is stopping.
    Draining = "draining", 503;
    /// A field of the request is missing or out of bounds; `details` names each one.
    ValidationError = "validation_error", 400;
    /// The object is not at the version that `If-Match` names: somebody has changed it since it was read.
    PreconditionFailed = "precondition_failed", 412;
    /// The body is not JSON.
    MalformedBody = "malformed_body", 400;
    /// The body is larger than this route or operation takes.
    BodyTooLarge = "body_too_large", 413;
    /// The body's media type is not application/json.
    UnsupportedMediaType = "unsupported_media_type", 415;
    /// The body is compressed, and the route has to read it: send it as it is.
    UnsupportedEncoding = "unsupported_encoding", 415;
    /// The upstream's answer cannot be changed as its route asks: it is not JSON, compressed, or too long.
    UpstreamBodyUnusable = "upstream_body_unusable", 502;
    /// The message's `webhook-id` is none: 1 to 128 visible characters without a dot are wanted, once.
    WebhookIdMalformed = "webhook_id_malformed", 400;
    /// The webhook has been switched off, or was disabled because its receiver failed for too long: nothing is posted.
    WebhookInactive = "webhook_inactive", 409;
    /// This proxy holds the webhook without what signing for it takes: try again in a moment. `details` says more.
    WebhookUnsigned = "webhook_unsigned", 503;
    /// The name of the webhook's receiver does not resolve.
    ReceiverUnresolved = "receiver_unresolved", 502;
    /// The webhook's URL leads to an address, a port or a scheme that nothing is posted to; `details` says which.
    ReceiverAddressRefused = "receiver_address_refused", 502;
    /// The webhook's receiver refused the connection, or cannot be reached.
    ReceiverUnreachable = "receiver_unreachable", 502;
    /// TLS with the webhook's receiver failed; `details` says why.
    ReceiverTlsFailed = "receiver_tls_failed", 502;
    /// The webhook's receiver did not answer in time; it may have taken the message.
    ReceiverTimeout = "receiver_timeout", 504;
    /// The webhook's receiver broke off, or answered what is not HTTP; it may have taken the message.
    ReceiverBroken = "receiver_broken", 502;
    /// The webhook's receiver answered with a redirect, which is not followed.
    ReceiverRedirected = "receiver_redirected", 502;
    /// No access token could be had from the authorization server of the webhook's receiver.
    ReceiverTokenUnavailable = "receiver_token_unavailable", 502;
    /// As many messages are on their way as may be; nothing was sent. `Retry-After` says when to come back.
    EgressOverloaded = "egress_overloaded", 503;
    /// There is no such object, or it belongs to another account.
    NotFound = "not_found", 404;
    /// The object's state does not allow this: it exists already, or has been revoked.
    Conflict = "conflict", 409;
    /// A gateway or an account takes no more objects of this kind, or a gateway no more routes with parameters in other places on this host; the message names the bound.
    ObjectLimitReached = "object_limit_reached", 409;
    /// The idempotency key was used before with another request.
    IdempotencyKeyReused = "idempotency_key_reused", 422;
    /// A request with this idempotency key is being worked on.
    IdempotencyKeyInUse = "idempotency_key_in_use", 409;
    /// More events are waiting to be written than may; nothing was accepted. `Retry-After` says when to come back.
    EventsOverloaded = "events_overloaded", 503;
    /// The account's plan does not allow more of these.
    PlanLimitReached = "plan_limit_reached", 403;
    /// The database cannot be reached; nothing was changed.
    StoreUnavailable = "store_unavailable", 503;
    /// The operation took too long and was given up.
    TimedOut = "timed_out", 503;
    /// A fault of Clearway's own; the trace id finds it in the log.
    InternalError = "internal_error", 500;
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_statuses_say_that_it_was_not_done() {
        let words: HashSet<_> = ErrorCode::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(words.len(), ErrorCode::ALL.len());
        assert!(ErrorCode::ALL.iter().all(|c| (300..600).contains(&c.status()) && c.meaning().ends_with('.')));
    }

    #[test]
    fn a_failure_of_ours_is_never_answered_as_a_bad_key() {
        for ours in [
            ErrorCode::StoreUnavailable,
            ErrorCode::NotReady,
            ErrorCode::LedgerUnavailable,
            ErrorCode::QuotaStoreUnavailable,
            ErrorCode::AuthLeaseExpired,
        ] {
            assert_eq!(ours.status(), 503);
        }
    }
}
