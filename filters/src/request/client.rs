//! Who sends a request: the credential it carries and the address it comes from.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue, header::HeaderName};
use ipnet::IpNet;

use super::Credential;
use crate::jwt;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What stands in `Authorization: Bearer` or `X-API-Key`; both may be sent if they say the same. Only a bearer's can
/// be a token, or what stands in `Authorization: DPoP`, which stands alone.
pub(super) fn credential<'r>(
    authorization: Option<&'r HeaderValue>,
    api_key: Option<&'r HeaderValue>,
) -> Result<Credential<'r>, &'static str> {
    let shown_as = |scheme| authorization.and_then(|value| credential_of(scheme, value.as_bytes()));
    if let Some(token) = shown_as(b"dpop") {
        return if api_key.is_some() { Err("two different credentials") } else { Ok(Credential::Bound(token)) };
    }
    let bearer = shown_as(b"bearer");
    let api_key = api_key.map(|value| value.as_bytes().trim_ascii());
    match (bearer, api_key) {
        (Some(one), Some(other)) if one != other => Err("two different credentials"),
        (Some(token), None) if jwt::is_token(token) => Ok(Credential::Token(token)),
        (Some(key), _) | (None, Some(key)) => Ok(Credential::Key(key)),
        (None, None) if authorization.is_some() => Ok(Credential::Other),
        (None, None) => Ok(Credential::None),
    }
}

/// `None` for another scheme: that is nobody's key, and none of ours.
fn credential_of<'v>(scheme: &[u8], value: &'v [u8]) -> Option<&'v [u8]> {
    let value = value.trim_ascii();
    let (said, rest) = value.split_at_checked(scheme.len())?;
    let ends = matches!(rest.first(), None | Some(b' ' | b'\t'));
    (said.eq_ignore_ascii_case(scheme) && ends).then(|| rest.trim_ascii())
}

/// The peer; or, where the peer is a trusted proxy, the rightmost hop of X-Forwarded-For that is not.
///
/// What stands left of an untrusted hop was written by that hop, and is never read. A hop that is no
/// address ends the walk at the proxy that wrote it.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut address = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(address) {
        return address;
    }
    let mut values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    while let Some(value) = values.pop() {
        for hop in value.as_bytes().rsplit(|&byte| byte == b',') {
            let Some(hop) = parse_hop(hop.trim_ascii()) else { return address };
            address = hop;
            if !is_trusted(address) {
                return address;
            }
        }
    }
    address
}

/// An address, with or without a port.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|hop| hop.ip())).map(|ip| ip.to_canonical())
}
