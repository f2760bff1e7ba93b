//! What a token says, once its signature is right: when it holds, whom it is meant for, whom it stands for.

use std::{fmt::Write as _, time::Duration};

use clearway_config::{
    AccountId, Scope, Scopes,
    scope::{ADMIN, SCOPES_MAX},
    settings::gateway::issuer::{AccountRule, Issuer},
};
use serde_json::Value;

use super::{Claims, Refusal, object::Object};

/// Bytes in a path that a token is limited to, at most.
const RESOURCE_PATH_BYTES_MAX: usize = 512;
/// Bytes in a subject at most.
const SUBJECT_BYTES_MAX: usize = 256;

pub(super) fn read(claims: &Object, issuer: &Issuer, now_ms: u64) -> Result<Claims, Refusal> {
    let refused_from_ms = check_times(claims, issuer.leeway, issuer.max_age, now_ms)?;
    let below = below(claims, issuer)?;
    Ok(Claims {
        subject: subject(claims, &issuer.subject_claim)?,
        scopes: scopes(claims, issuer.scope_claim.as_deref()),
        account: account(claims, &issuer.account).ok_or(Refusal::AccountUnknown)?,
        refused_from_ms,
        below,
        bound: bound(claims, issuer)?,
    })
}

/// RFC 7519, 4.1.4 to 4.1.6. Says from when on the token is refused. One without an end is never taken.
pub(super) fn check_times(claims: &Object, leeway: Duration, max_age: Option<Duration>, now_ms: u64) -> Result<u64, Refusal> {
    let leeway_ms = millis(leeway);
    let at = |name: &'static str| claims.get(name).map(|date| date_ms(date).ok_or(Refusal::Invalid(name))).transpose();
    let (expires, from, issued) = (at("exp")?.ok_or(Refusal::Invalid("exp"))?, at("nbf")?, at("iat")?);
    let mut refused_from_ms = expires.saturating_add(leeway_ms);
    if let Some(max_age) = max_age {
        let oldest = issued.ok_or(Refusal::Invalid("iat"))?.saturating_add(millis(max_age)).saturating_add(leeway_ms);
        refused_from_ms = refused_from_ms.min(oldest);
    }
    if now_ms >= refused_from_ms {
        return Err(Refusal::Expired);
    }
    if from.max(issued).is_some_and(|from| from > now_ms.saturating_add(leeway_ms)) {
        return Err(Refusal::NotYetValid);
    }
    Ok(refused_from_ms)
}

/// A NumericDate: seconds since 1970, perhaps with a fraction.
pub(super) fn date_ms(date: &Value) -> Option<u64> {
    if let Some(seconds) = date.as_u64() {
        return Some(seconds.saturating_mul(1_000));
    }
    let seconds = date.as_f64().filter(|s| s.is_finite() && *s >= 0.0)?;
    // Casts saturate.
    Some((seconds * 1_000.0) as u64)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whom it is meant for: `None` is all that the issuer's tokens are taken for, and otherwise only what is below a path.
fn below(claims: &Object, issuer: &Issuer) -> Result<Option<Box<str>>, Refusal> {
    let is_ours = |value: &Value| value.as_str().is_some_and(|said| issuer.audiences.iter().any(|audience| audience == said));
    match claims.get("aud") {
        Some(Value::Array(several)) if several.iter().any(is_ours) => Ok(None),
        Some(one) if is_ours(one) => Ok(None),
        Some(Value::String(said)) if issuer.resources => {
            let path = issuer.audiences.iter().find_map(|audience| said.strip_prefix(audience.as_str()));
            path.filter(|path| is_resource_path(path)).map(|path| Some(path.into())).ok_or(Refusal::Audience)
        }
        _ => Err(Refusal::Audience),
    }
}

/// What it is bound to: nothing else is known here than the key of a proof.
fn bound(claims: &Object, issuer: &Issuer) -> Result<Option<Box<str>>, Refusal> {
    match claims.get("cnf").filter(|_| issuer.binds) {
        None => Ok(None),
        Some(bound) => bound.get("jkt").and_then(Value::as_str).map(|key| Some(key.into())).ok_or(Refusal::Invalid("cnf")),
    }
}

/// Whether a path is one that a token can be limited to: in its one spelling, of letters, digits, `-`, `.`, `_` and `~`, without
/// a slash at its end.
pub fn is_resource_path(path: &str) -> bool {
    let segment = |text: &str| {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'));
        plain && !matches!(text, "" | "." | "..")
    };
    path.len() <= RESOURCE_PATH_BYTES_MAX && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment))
}

fn subject(claims: &Object, claim: &str) -> Result<Option<String>, Refusal> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(subject)) if subject.len() <= SUBJECT_BYTES_MAX => {
            let mut shown = String::with_capacity(subject.len());
            for byte in subject.bytes() {
                if byte.is_ascii_graphic() && byte != b'%' {
                    shown.push(char::from(byte));
                } else {
                    write!(shown, "%{byte:02X}").expect("a String takes everything");
                }
            }
            Ok(Some(shown))
        }
        Some(_) => Err(Refusal::Invalid("subject")),
    }
}

/// Words that are no scopes here, such as `openid`, are nobody's business. Neither is [`ADMIN`]: to rule the
/// platform is not an issuer's to give.
fn scopes(claims: &Object, claim: Option<&str>) -> Scopes {
    let said = match claim {
        Some(claim) => claims.get(claim),
        None => claims.get("scope").or_else(|| claims.get("scp")),
    };
    let read = |word: &str| word.parse::<Scope>().ok().filter(|scope| scope.as_str() != ADMIN);
    match said {
        Some(Value::String(words)) => words.split(' ').filter_map(read).take(SCOPES_MAX).collect(),
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).filter_map(read).take(SCOPES_MAX).collect(),
        _ => Scopes::default(),
    }
}

fn account(claims: &Object, rule: &AccountRule) -> Option<AccountId> {
    match rule {
        AccountRule::Always(account) => Some(*account),
        AccountRule::Claim(claim) => claims.get(claim)?.as_str()?.parse().ok(),
        AccountRule::Mapped { claim, accounts } => accounts.get(claims.get(claim)?.as_str()?).copied(),
    }
}
