//! The signature base (RFC 9421, 2.5): the lines that a signature is computed over.

use std::fmt::Write as _;

use http::{HeaderMap, Method, header::HeaderName};
use sfv::{InnerList, Item, ListEntry, SerializeValue as _};

use super::Refusal;

/// A request as its signer saw it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    pub method: &'r Method,
    /// `http` or `https`.
    pub scheme: &'r str,
    /// As in Host or `:authority`, the port included.
    pub authority: &'r str,
    /// As it came, beginning with `/`.
    pub path_and_query: &'r str,
    pub headers: &'r HeaderMap,
}

impl<'r> Request<'r> {
    pub fn path(&self) -> &'r str {
        self.path_and_query.split_once('?').map_or(self.path_and_query, |(path, _)| path)
    }

    /// Without the `?`.
    pub fn query(&self) -> Option<&'r str> {
        self.path_and_query.split_once('?').map(|(_, query)| query)
    }

    /// RFC 9421, 2.2.3: in lower case, without the scheme's own port.
    fn authority(&self) -> String {
        let authority = self.authority.to_ascii_lowercase();
        let own = if self.scheme == "https" { ":443" } else { ":80" };
        authority.strip_suffix(own).map_or_else(|| authority.clone(), str::to_owned)
    }
}

/// The base of the signature whose Signature-Input is `input`.
pub(super) fn of(input: &InnerList, request: &Request<'_>) -> Result<String, Refusal> {
    let mut base = String::with_capacity(512);
    let mut names = Vec::with_capacity(input.items.len());
    for item in &input.items {
        let component = item.serialize_value().map_err(|_| Refusal::Malformed("component"))?;
        if names.contains(&component) {
            return Err(Refusal::Malformed("component covered twice"));
        }
        write!(base, "{component}: ").expect("a String takes everything");
        value(&mut base, item, request)?;
        base.push('\n');
        names.push(component);
    }
    let parameters = vec![ListEntry::InnerList(input.clone())].serialize_value();
    let parameters = parameters.map_err(|_| Refusal::Malformed("parameters"))?;
    write!(base, "\"@signature-params\": {parameters}").expect("a String takes everything");
    Ok(base)
}

fn value(base: &mut String, item: &Item, request: &Request<'_>) -> Result<(), Refusal> {
    let name = item.bare_item.as_str().ok_or(Refusal::Malformed("component"))?;
    if !item.params.is_empty() {
        // What parameters select (a part of a field, another message) is nothing that has to be covered here.
        return Err(Refusal::Malformed("component with parameters"));
    }
    match name {
        "@method" => base.push_str(request.method.as_str()),
        "@authority" => base.push_str(&request.authority()),
        "@scheme" => base.push_str(request.scheme),
        "@request-target" => base.push_str(request.path_and_query),
        "@path" => base.push_str(request.path()),
        "@query" => {
            base.push('?');
            base.push_str(request.query().unwrap_or_default());
        }
        "@target-uri" => {
            write!(base, "{}://{}{}", request.scheme, request.authority(), request.path_and_query)
                .expect("a String takes everything");
        }
        derived if derived.starts_with('@') => return Err(Refusal::Malformed("component that is not known")),
        field => field_value(base, field, request.headers)?,
    }
    Ok(())
}

/// RFC 9421, 2.1: all values of the field, trimmed, in order.
fn field_value(base: &mut String, name: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(Refusal::Malformed("component that is not in lower case"));
    }
    let name: HeaderName = name.parse().map_err(|_| Refusal::Malformed("component"))?;
    let mut values = headers.get_all(&name).iter().peekable();
    if values.peek().is_none() {
        return Err(Refusal::Malformed("field that is covered and not there"));
    }
    let mut first = true;
    for value in values {
        if !std::mem::take(&mut first) {
            base.push_str(", ");
        }
        // Only what HTTP itself allows in a field can be signed by everybody alike.
        let text = value.to_str().map_err(|_| Refusal::Malformed("field that is covered and not ASCII"))?;
        base.push_str(text.trim_matches([' ', '\t']));
    }
    Ok(())
}
