//! Who a request is from before it is known who that is.

use std::{fmt, net::IpAddr};

use axum::extract::FromRequestParts;
use clearway_config::{ErrorCode, RequestId, UserId};
use http::{HeaderValue, header, request::Parts};
use zeroize::Zeroizing;

use super::{Once, devices::DEVICE_COOKIE};
use crate::{
    audit::Actor,
    http::{Api, ApiError, Context},
};

/// Somebody who may be about to sign in.
#[derive(Debug)]
pub struct Visitor {
    pub address: IpAddr,
    pub request_id: RequestId,
    /// What a browser calls itself.
    pub user_agent: String,
    /// The device's token, where it came in the cookie.
    pub(super) device: Option<Once>,
    cookies: Cookies,
    /// Whether a page of another site sent it, as far as the browser says.
    elsewhere: bool,
}

/// What a browser's cookies are, as they were sent; they hold tokens.
struct Cookies(Zeroizing<String>);

impl Visitor {
    /// The first cookie of a name.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.find(name)
    }

    /// The person whom they turned out to be, for the audit log.
    pub fn actor(&self, id: UserId) -> Actor {
        Actor::User { id, address: Some(self.address), request_id: Some(self.request_id) }
    }

    /// Refuses to give a browser a cookie where a page of another site asked for it.
    pub fn may_get_cookie(&self) -> Result<(), ApiError> {
        if self.elsewhere { Err(ApiError::new(ErrorCode::CsrfTokenInvalid)) } else { Ok(()) }
    }
}

impl Cookies {
    fn find(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookies(…)")
    }
}

impl FromRequestParts<Api> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        let context = parts.extensions.get::<Context>().ok_or_else(|| ApiError::internal("a request without its context"))?;
        let text = |name: &header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let cookies = Cookies(Zeroizing::new(cookies.collect::<Vec<_>>().join(";")));
        let site = parts.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        Ok(Self {
            address: context.address,
            request_id: context.request_id,
            user_agent: text(&header::USER_AGENT).unwrap_or_default().to_owned(),
            device: cookies.find(DEVICE_COOKIE).and_then(Once::parse),
            cookies,
            elsewhere: !site.is_none_or(|site| matches!(site, b"same-origin" | b"none")),
        })
    }
}
