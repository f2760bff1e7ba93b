//! What a request identifies its caller by: exactly one key, or one session's token.

use clearway_config::{
    ErrorCode, PlainKey, SessionToken,
    session::{SESSION_COOKIE, SESSION_PREFIX},
};
use clearway_filters::jwt::{TOKEN_BYTES_MAX, is_token};
use http::{HeaderMap, Method, header};
use zeroize::Zeroizing;

use crate::http::ApiError;

/// The header that a page sends beside the session's cookie.
pub const CSRF_HEADER: &str = "x-csrf-token";

#[derive(Debug)]
pub(super) enum Credential {
    Key(PlainKey),
    /// Sent on purpose: a page of another site cannot.
    Bearer(SessionToken),
    /// Sent by the browser by itself.
    Cookie(SessionToken),
    /// An application's access token; its form is all that is known of it.
    Token(Zeroizing<String>),
    /// The same, shown as one that is bound to a key, with a proof of that.
    Bound(Zeroizing<String>, String),
}

/// As `Authorization: Bearer` or `X-API-Key`, or the same in both; else the session's cookie. The cookie is sent by
/// browsers without being asked, so whatever was sent on purpose comes before it.
pub(super) fn credential(headers: &HeaderMap) -> Result<Credential, ApiError> {
    let only = |name: &str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(ApiError::new(ErrorCode::AmbiguousRequest)),
            (first, None) => Ok(first.map(|value| value.as_bytes().trim_ascii())),
        }
    };
    let bearer = match only(header::AUTHORIZATION.as_str())? {
        Some(value) if value.len() > 7 && value[..7].eq_ignore_ascii_case(b"bearer ") => Some(value[7..].trim_ascii()),
        Some(value) if value.len() > 5 && value[..5].eq_ignore_ascii_case(b"dpop ") => {
            if only("x-api-key")?.is_some() {
                return Err(ApiError::new(ErrorCode::AmbiguousRequest));
            }
            return bound(value[5..].trim_ascii(), only("dpop")?);
        }
        Some(_) => return Err(ApiError::new(ErrorCode::KeyMalformed)),
        None => None,
    };
    let sent = match (bearer, only("x-api-key")?) {
        (Some(bearer), Some(other)) if bearer != other => return Err(ApiError::new(ErrorCode::AmbiguousRequest)),
        (Some(sent), _) | (None, Some(sent)) => sent,
        (None, None) => return cookie(headers),
    };
    if sent.starts_with(SESSION_PREFIX.as_bytes()) && bearer.is_some() {
        let token = SessionToken::parse(sent).map_err(|_| ApiError::new(ErrorCode::SessionUnknown))?;
        return Ok(Credential::Bearer(token));
    }
    if bearer.is_some() && is_token(sent) && sent.len() <= TOKEN_BYTES_MAX {
        let token = std::str::from_utf8(sent).map_err(|_| ApiError::new(ErrorCode::TokenMalformed))?;
        return Ok(Credential::Token(Zeroizing::new(token.to_owned())));
    }
    PlainKey::parse(sent).map(Credential::Key).map_err(|_| ApiError::new(ErrorCode::KeyMalformed))
}

fn bound(token: &[u8], proof: Option<&[u8]>) -> Result<Credential, ApiError> {
    let text = |bytes: &[u8], code| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ApiError::new(code));
    if !is_token(token) || token.len() > TOKEN_BYTES_MAX {
        return Err(ApiError::new(ErrorCode::TokenMalformed));
    }
    let proof = proof.ok_or_else(|| ApiError::new(ErrorCode::TokenProofMissing))?;
    let token = Zeroizing::new(text(token, ErrorCode::TokenMalformed)?);
    Ok(Credential::Bound(token, text(proof, ErrorCode::TokenProofInvalid)?))
}

fn cookie(headers: &HeaderMap) -> Result<Credential, ApiError> {
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b';'));
    let mut found = pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(SESSION_COOKIE.as_bytes())?.strip_prefix(b"="));
    match (found.next(), found.next()) {
        (None, _) => Err(ApiError::new(ErrorCode::KeyMissing)),
        (Some(_), Some(_)) => Err(ApiError::new(ErrorCode::AmbiguousRequest)),
        (Some(value), None) => match SessionToken::parse(value) {
            Ok(token) => Ok(Credential::Cookie(token)),
            Err(_) => Err(ApiError::new(ErrorCode::SessionUnknown)),
        },
    }
}

/// Refuses what a browser may have been made to send by a page of another site: whatever is not only read must carry the
/// session's CSRF token, and neither may come from elsewhere as far as the browser says (Fetch Metadata).
pub(super) fn check_page(method: &Method, headers: &HeaderMap, token: &SessionToken) -> Result<(), ApiError> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let sent = headers.get(CSRF_HEADER).is_some_and(|given| token.is_csrf(given.as_bytes()));
    if sent && !is_from_elsewhere(headers) { Ok(()) } else { Err(ApiError::new(ErrorCode::CsrfTokenInvalid)) }
}

/// Whether a page of another site sent it, as far as the browser says.
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    !site.is_none_or(|site| matches!(site, b"same-origin" | b"none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn refused(pairs: &[(&'static str, &str)]) -> ErrorCode {
        credential(&headers(pairs)).unwrap_err().code()
    }

    #[test]
    fn what_was_sent_on_purpose_comes_before_the_cookie() {
        let (token, other) = (SessionToken::mint([1; 32]), SessionToken::mint([2; 32]));
        let bearer = format!("Bearer {}", token.reveal());
        let jar = format!("a=b; {SESSION_COOKIE}={}; c=d", other.reveal());
        let both = credential(&headers(&[("authorization", &bearer), ("cookie", &jar)])).unwrap();
        assert!(matches!(both, Credential::Bearer(found) if found.reveal() == token.reveal()));
        let alone = credential(&headers(&[("cookie", &jar)])).unwrap();
        assert!(matches!(alone, Credential::Cookie(found) if found.reveal() == other.reveal()));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let token = SessionToken::mint([1; 32]);
        let twice = format!("{SESSION_COOKIE}={0}; {SESSION_COOKIE}={0}", token.reveal());
        assert_eq!(refused(&[("cookie", &twice)]), ErrorCode::AmbiguousRequest);
        assert_eq!(refused(&[("cookie", &format!("{SESSION_COOKIE}=x"))]), ErrorCode::SessionUnknown);
        assert_eq!(refused(&[("x-api-key", token.reveal())]), ErrorCode::KeyMalformed);
        assert_eq!(refused(&[("cookie", &format!("x{SESSION_COOKIE}={}", token.reveal()))]), ErrorCode::KeyMissing);
        assert_eq!(refused(&[]), ErrorCode::KeyMissing);
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let token = SessionToken::mint([1; 32]);
        let csrf = token.csrf();
        let post = |pairs: &[(&'static str, &str)]| check_page(&Method::POST, &headers(pairs), &token).is_ok();
        assert!(post(&[(CSRF_HEADER, &csrf)]));
        assert!(post(&[(CSRF_HEADER, &csrf), ("sec-fetch-site", "same-origin")]));
        assert!(!post(&[(CSRF_HEADER, &csrf), ("sec-fetch-site", "cross-site")]));
        assert!(!post(&[(CSRF_HEADER, &csrf), ("sec-fetch-site", "same-site")]));
        assert!(!post(&[]) && !post(&[(CSRF_HEADER, &SessionToken::mint([2; 32]).csrf())]));
        assert!(check_page(&Method::GET, &headers(&[]), &token).is_ok());
    }
}
