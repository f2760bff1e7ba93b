//! Answers that the gateway makes itself: the v1 envelope, with the headers its code asks for.

use clearway_config::{
    ErrorCode,
    envelope::{Failure, Meta, Problem, RateLimit},
    settings::gateway::{Algorithm, AuthMethod, AuthMethods},
};
use clearway_filters::{
    Reject, jwt,
    policy::Policies,
    quota::{Refusal, Standing},
    ratelimit::{self, Text, nearest, retry_after_s},
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::json;

use super::{decide::Stop, trace};

/// Seconds after which a request that failed for a reason of ours may be tried again.
const OUR_RETRY_AFTER_S: u64 = 1;
/// RFC 9449, 8.1.
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// An answer without its standing headers, which every answer carries.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of a refusal or a failure.
    pub(crate) code: Option<ErrorCode>,
    /// Empty, or JSON.
    pub(crate) body: Vec<u8>,
    pub(crate) authenticate: Option<String>,
    pub(crate) retry_after_s: Option<u64>,
    /// What else it says.
    pub(crate) headers: HeaderMap,
}

impl Answer {
    /// The headers that are this answer's own, Content-Length included.
    pub(crate) fn told<E>(&self, mut tell: impl FnMut(&HeaderName, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut text = Text::default();
        if !self.body.is_empty() {
            tell(&CONTENT_TYPE, b"application/json")?;
            tell(&CACHE_CONTROL, b"no-store")?;
        }
        // RFC 9110, 8.6: a 204 has none.
        if self.status != 204 {
            tell(&CONTENT_LENGTH, ratelimit::number(&mut text, self.body.len() as u64))?;
        }
        for (name, value) in &self.headers {
            tell(name, value.as_bytes())?;
        }
        if let Some(challenge) = &self.authenticate {
            tell(&WWW_AUTHENTICATE, challenge.as_bytes())?;
        }
        match self.retry_after_s {
            Some(seconds) => tell(&RETRY_AFTER, ratelimit::number(&mut text, seconds)),
            None => Ok(()),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'r> {
    pub(crate) request_id: &'r str,
    pub(crate) trace_id: u128,
    pub(crate) now_ms: u64,
    /// What its route takes.
    pub(crate) takes: AuthMethods,
    /// The route's and the account's, where a route was found.
    pub(crate) policies: Option<Policies<'r>>,
    pub(crate) origin: Option<&'r HeaderValue>,
}

impl Asked<'_> {
    /// What the policies add to an answer of the gateway's own.
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(policies) = self.policies {
            policies.answer(&mut headers, self.origin, false);
        }
        headers
    }
}

/// The answer to a request that goes no further.
pub(crate) fn stopped(asked: &Asked<'_>, stop: &Stop) -> Answer {
    match stop {
        Stop::Refused(reject) => rejected(asked, reject),
        Stop::Answered(answered) => Answer {
            status: answered.status,
            code: None,
            body: Vec::new(),
            authenticate: None,
            retry_after_s: None,
            headers: answered.headers.clone(),
        },
    }
}

/// The answer to a request that was refused.
pub(crate) fn rejected(asked: &Asked<'_>, reject: &Reject) -> Answer {
    let code = reject.code();
    let rate_limit = reject.standing().and_then(rate_limit);
    let (message, details) = match reject {
        Reject::Ambiguous(what) => (format!("The request can be read in more than one way: {what}."), json!({ "reason": what })),
        Reject::Token(jwt::Refusal::Invalid(what) | jwt::Refusal::Proof(what)) | Reject::MalformedBody(what) => {
            (code.meaning().to_owned(), json!({ "reason": what }))
        }
        Reject::ScopeMissing(scope) => (format!("The key lacks the scope {scope}."), json!({ "scope": scope.as_str() })),
        Reject::Quota(refused) | Reject::LeaseShort(refused) => (code.meaning().to_owned(), limit_met(&refused.refusal)),
        Reject::Maintenance(maintenance) => {
            (maintenance.message.clone().unwrap_or_else(|| code.meaning().to_owned()), serde_json::Value::Null)
        }
        _ => (code.meaning().to_owned(), serde_json::Value::Null),
    };
    let mut headers = asked.headers();
    if let Reject::Token(jwt::Refusal::Nonce(nonce)) = reject {
        headers.insert(DPOP_NONCE, HeaderValue::from_str(nonce.as_str()).expect("base64url stands in headers"));
    }
    Answer {
        status: code.status(),
        code: Some(code),
        body: body(asked, code, message, details, rate_limit),
        authenticate: authenticate(reject, asked.takes),
        retry_after_s: retry_after(reject),
        headers,
    }
}

fn retry_after(reject: &Reject) -> Option<u64> {
    match reject {
        Reject::Maintenance(maintenance) => Some(maintenance.retry_after_s),
        _ => reject.refusal().map(|r| retry_after_s(r.retry_after_ms)).or_else(|| ours(reject.code())),
    }
}

/// [`failed`], for a reason that is more than its code says.
pub(crate) fn failed_because(asked: &Asked<'_>, code: ErrorCode, reason: &str) -> Answer {
    let body = body(asked, code, code.meaning().to_owned(), json!({ "reason": reason }), None);
    Answer { body, ..failed(asked, code, None) }
}

/// The answer to a request that was let through and failed.
pub(crate) fn failed(asked: &Asked<'_>, code: ErrorCode, standing: Option<&Standing>) -> Answer {
    let rate_limit = standing.and_then(rate_limit);
    let body = body(asked, code, code.meaning().to_owned(), serde_json::Value::Null, rate_limit);
    Answer {
        status: code.status(),
        code: Some(code),
        body,
        authenticate: None,
        retry_after_s: ours(code),
        headers: asked.headers(),
    }
}

/// The whole answer, head and all, to what could not be read as a request.
pub(crate) fn unreadable(code: ErrorCode) -> Vec<u8> {
    let now_ms = super::now_ms();
    let (request_id, random) = trace::fresh_ids(now_ms);
    let request_id = request_id.to_string();
    let asked = Asked {
        request_id: &request_id,
        trace_id: random.0,
        now_ms,
        takes: AuthMethods::default(),
        policies: None,
        origin: None,
    };
    let body = failed(&asked, code, None).body;
    let status = http::StatusCode::from_u16(code.status()).unwrap_or(http::StatusCode::BAD_REQUEST);
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nX-Request-Id: {request_id}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error"),
        body.len(),
    );
    [head.into_bytes(), body].concat()
}

fn ours(code: ErrorCode) -> Option<u64> {
    (code.status() == 503).then_some(OUR_RETRY_AFTER_S)
}

fn rate_limit(standing: &Standing) -> Option<RateLimit> {
    nearest(standing).map(|n| RateLimit { limit: n.limit, remaining: n.remaining, reset: n.reset })
}

fn limit_met(refusal: &Refusal) -> serde_json::Value {
    json!({
        "subject": refusal.subject.as_str(),
        "window": refusal.window.as_str(),
        "limit": refusal.limit,
        "retry_after_ms": refusal.retry_after_ms,
    })
}

/// RFC 9110, 11.6.1, and RFC 6750, 3: on every 401 a challenge for each method that the route takes, and one on the
/// 403 that a wider credential would pass.
fn authenticate(reject: &Reject, takes: AuthMethods) -> Option<String> {
    let code = reject.code();
    if let Reject::ScopeMissing(scope) = reject {
        return Some(format!("Bearer realm=\"clearway\", error=\"insufficient_scope\", scope=\"{scope}\""));
    }
    if code.status() != 401 {
        return None;
    }
    let nothing_judged = matches!(
        reject,
        Reject::KeyMissing
            | Reject::CredentialMissing
            | Reject::CredentialNotAccepted
            | Reject::CertificateMissing
            | Reject::CertificateUnknown
            | Reject::Signature(_)
    );
    let mut challenges = Vec::new();
    // RFC 9449, 7.1 and 9.
    if let Reject::Token(refusal @ (jwt::Refusal::Unproved | jwt::Refusal::Proof(_) | jwt::Refusal::Nonce(_))) = reject {
        let error = match refusal {
            jwt::Refusal::Nonce(_) => "use_dpop_nonce",
            jwt::Refusal::Proof(_) => "invalid_dpop_proof",
            _ => "invalid_token",
        };
        let algorithms = jwt::PROOF_ALGORITHMS.map(Algorithm::as_str).join(" ");
        return Some(format!("DPoP realm=\"clearway\", error=\"{error}\", error_description=\"{code}\", algs=\"{algorithms}\""));
    }
    if [AuthMethod::Key, AuthMethod::Jwt, AuthMethod::Session].into_iter().any(|bearer| takes.contains(bearer)) {
        challenges.push(if nothing_judged {
            "Bearer realm=\"clearway\"".to_owned()
        } else {
            format!("Bearer realm=\"clearway\", error=\"invalid_token\", error_description=\"{code}\"")
        });
    }
    // Neither has a scheme of its own; these say what to look for in the documentation.
    for (method, scheme) in [(AuthMethod::Signature, "Signature"), (AuthMethod::Mtls, "ClientCertificate")] {
        if takes.contains(method) {
            challenges.push(format!("{scheme} realm=\"clearway\""));
        }
    }
    // Of a route that takes nothing but anonymous requests.
    Some(if challenges.is_empty() { "None realm=\"clearway\"".to_owned() } else { challenges.join(", ") })
}

fn body(
    asked: &Asked<'_>,
    code: ErrorCode,
    message: String,
    details: serde_json::Value,
    rate_limit: Option<RateLimit>,
) -> Vec<u8> {
    let stamp = i64::try_from(asked.now_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    let failure = Failure {
        id: asked.request_id.to_owned(),
        status: "error".to_owned(),
        code: code.status(),
        error: Problem { kind: code.as_str().to_owned(), message, details },
        meta: Meta { timestamp: format!("{stamp:.3}"), rate_limit, trace_id: format!("{:032x}", asked.trace_id) },
    };
    serde_json::to_vec(&failure).expect("strings and numbers always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'static> = Asked {
        request_id: "req_x",
        trace_id: 0xab,
        now_ms: 1_770_724_800_250,
        takes: AuthMethods::of(AuthMethod::Key),
        policies: None,
        origin: None,
    };

    #[test]
    fn a_refusal_is_the_v1_envelope() {
        let answer = rejected(&ASKED, &Reject::ScopeMissing("read:orders".parse().unwrap()));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            body,
            json!({
                "id": "req_x",
                "status": "error",
                "code": 403,
                "error": {
                    "type": "scope_missing",
                    "message": "The key lacks the scope read:orders.",
                    "details": { "scope": "read:orders" },
                },
                "meta": { "timestamp": "2026-02-10T12:00:00.250Z", "trace_id": "000000000000000000000000000000ab" },
            })
        );
        assert_eq!(
            answer.authenticate.unwrap(),
            "Bearer realm=\"clearway\", error=\"insufficient_scope\", scope=\"read:orders\""
        );
    }

    #[test]
    fn every_401_carries_a_challenge_and_every_503_says_when_to_come_back() {
        for reject in [Reject::KeyMissing, Reject::KeyMalformed, Reject::KeyUnknown, Reject::KeyRevoked, Reject::KeyExpired] {
            let answer = rejected(&ASKED, &reject);
            assert!(answer.status == 401 && answer.authenticate.is_some(), "{reject:?}");
        }
        for reject in [Reject::NotReady, Reject::AuthLeaseExpired, Reject::LedgerUnavailable] {
            let answer = rejected(&ASKED, &reject);
            assert_eq!((answer.status, answer.retry_after_s, answer.authenticate), (503, Some(1), None));
        }
    }

    #[test]
    fn a_401_names_every_method_that_would_do() {
        let challenge = |reject: Reject, methods: &[AuthMethod]| {
            let asked = Asked { takes: methods.iter().copied().collect(), ..ASKED };
            rejected(&asked, &reject).authenticate.unwrap()
        };
        use AuthMethod::{Anonymous, Jwt, Key, Mtls};
        assert_eq!(challenge(Reject::CredentialMissing, &[Key, Jwt]), "Bearer realm=\"clearway\"");
        assert_eq!(
            challenge(Reject::CredentialMissing, &[Jwt, Mtls]),
            "Bearer realm=\"clearway\", ClientCertificate realm=\"clearway\""
        );
        assert_eq!(challenge(Reject::CertificateUnknown, &[Mtls]), "ClientCertificate realm=\"clearway\"");
        let expired = challenge(Reject::Token(jwt::Refusal::Expired), &[Jwt]);
        assert_eq!(expired, "Bearer realm=\"clearway\", error=\"invalid_token\", error_description=\"token_expired\"");
        let unproved = challenge(Reject::Token(jwt::Refusal::Unproved), &[Jwt]);
        assert!(unproved.starts_with("DPoP ") && unproved.ends_with("algs=\"ES256 EdDSA\""), "{unproved}");
        assert_eq!(challenge(Reject::CredentialNotAccepted, &[Anonymous]), "None realm=\"clearway\"");
    }

    #[test]
    fn what_cannot_be_read_is_answered_whole() {
        let text = String::from_utf8(unreadable(ErrorCode::AmbiguousRequest)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.contains("\"type\":\"ambiguous_request\""), "{body}");
    }
}
