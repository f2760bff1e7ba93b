//! Reading a JSON object or a query string field by field, so that every fault is told at once.
//!
//! A form asks for each field it knows; what it did not ask for is unknown, and refused by [`Fields::finish`].

use std::{fmt::Display, str::FromStr};

use axum::extract::{FromRequest, FromRequestParts, Request};
use clearway_config::{ErrorCode, envelope::FieldIssue};
use http::{HeaderValue, header, request::Parts};
use serde_json::{Map, Value};

use super::{ApiError, answer::issue};

/// Bytes in a request's body at most.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Why a value is refused: a word for a program and a sentence for a person.
pub type Wrong = (&'static str, String);

/// Something that is read from named values.
pub trait Form: Sized {
    /// Reads every field, even after one was wrong; the values returned then are not looked at.
    fn read(fields: &mut Fields) -> Option<Self>;
}

#[derive(Debug, Default)]
pub struct Fields {
    given: Map<String, Value>,
    prefix: String,
    asked: Vec<&'static str>,
    issues: Vec<FieldIssue>,
}

impl Fields {
    pub fn new(given: Map<String, Value>) -> Self {
        Self { given, ..Self::default() }
    }

    /// A field that must be there.
    pub fn required<T>(&mut self, name: &'static str, read: impl FnOnce(&Value) -> Result<T, Wrong>) -> Option<T> {
        match self.optional(name, read) {
            Some(None) => {
                self.refuse(name, ("required", "is required".into()));
                None
            }
            Some(given) => given,
            None => None,
        }
    }

    /// A field that may be left out or null. `None` when it is wrong.
    pub fn optional<T>(&mut self, name: &'static str, read: impl FnOnce(&Value) -> Result<T, Wrong>) -> Option<Option<T>> {
        self.patch(name, read).map(Option::flatten)
    }

    /// A field of a change: left out is `Some(None)`, null `Some(Some(None))`. `None` when it is wrong.
    pub fn patch<T>(&mut self, name: &'static str, read: impl FnOnce(&Value) -> Result<T, Wrong>) -> Option<Option<Option<T>>> {
        self.asked.push(name);
        match self.given.remove(name) {
            None => Some(None),
            Some(Value::Null) => Some(Some(None)),
            Some(value) => match read(&value) {
                Ok(value) => Some(Some(Some(value))),
                Err(wrong) => {
                    self.refuse(name, wrong);
                    None
                }
            },
        }
    }

    /// A field of a change that null does not clear: left out is `Some(None)`.
    pub fn kept<T>(&mut self, name: &'static str, read: impl FnOnce(&Value) -> Result<T, Wrong>) -> Option<Option<T>> {
        let given = self.patch(name, read)?;
        if matches!(given, Some(None)) {
            self.refuse(name, ("required", "cannot be null".into()));
        }
        Some(given.flatten())
    }

    /// Has a field read that is given under another name; one that is given under both is refused.
    pub fn also_called(&mut self, name: &'static str, other: &str) {
        if !self.given.contains_key(name)
            && let Some(value) = self.given.remove(other)
        {
            self.given.insert(name.to_owned(), value);
        }
    }

    /// An object within: left out is `Some(None)`, null `Some(Some(None))`.
    pub fn object<T: Form>(&mut self, name: &'static str) -> Option<Option<Option<T>>> {
        self.asked.push(name);
        let given = match self.given.remove(name) {
            None => return Some(None),
            Some(Value::Null) => return Some(Some(None)),
            Some(Value::Object(given)) => given,
            Some(_) => {
                self.refuse(name, ("format_invalid", "must be an object".into()));
                return None;
            }
        };
        let prefix = format!("{}{name}.", self.prefix);
        let mut inner = Fields { given, prefix, ..Self::default() };
        let read = T::read(&mut inner);
        inner.refuse_unknown();
        let whole = inner.issues.is_empty();
        self.issues.append(&mut inner.issues);
        read.filter(|_| whole).map(|form| Some(Some(form)))
    }

    pub fn refuse(&mut self, name: &str, (word, message): Wrong) {
        self.issues.push(issue(&format!("{}{name}", self.prefix), word, message));
    }

    /// The form, unless anything was wrong.
    pub fn finish<T: Form>(mut self) -> Result<T, ApiError> {
        let form = T::read(&mut self);
        self.refuse_unknown();
        match form {
            Some(form) if self.issues.is_empty() => Ok(form),
            _ => Err(ApiError::invalid(&self.issues)),
        }
    }

    /// The names that a form asks for.
    pub fn names<T: Form>() -> Vec<&'static str> {
        let mut fields = Self::default();
        T::read(&mut fields);
        fields.asked
    }

    fn refuse_unknown(&mut self) {
        for (name, _) in std::mem::take(&mut self.given) {
            let message = format!("is not known here; the fields are {}", self.asked.join(", "));
            self.refuse(&shortened(&name), ("unknown", message));
        }
    }
}

/// Text of 1 to `max` characters, without control characters or blanks at its ends.
pub fn text(max: usize) -> impl Fn(&Value) -> Result<String, Wrong> {
    move |value| {
        let text = value.as_str().ok_or(("format_invalid", "must be text".to_owned()))?;
        if text.is_empty() {
            return Err(("out_of_bounds", format!("must have 1 to {max} characters")));
        }
        if text.chars().count() > max {
            return Err(("too_long", format!("must have 1 to {max} characters")));
        }
        if text.chars().any(char::is_control) || text.trim() != text {
            return Err(("format_invalid", "must not have control characters, or blanks at its ends".into()));
        }
        Ok(text.to_owned())
    }
}

/// Text of at most so many characters, which may be empty and have lines.
pub fn text_or_none(chars_max: usize) -> impl Fn(&Value) -> Result<String, Wrong> {
    move |value| {
        let text = value.as_str().ok_or(("format_invalid", "must be text".to_owned()))?;
        if text.chars().count() > chars_max {
            return Err(("too_long", format!("must have at most {chars_max} characters")));
        }
        if text.chars().any(|c| c.is_control() && c != '\n') {
            return Err(("format_invalid", "must not have control characters".into()));
        }
        Ok(text.to_owned())
    }
}

/// Text that is the written form of a `T`.
pub fn parsed<T: FromStr<Err: Display>>(value: &Value) -> Result<T, Wrong> {
    let text = value.as_str().ok_or(("format_invalid", "must be text".to_owned()))?;
    text.parse().map_err(|why: T::Err| ("format_invalid", why.to_string()))
}

/// A whole number from `min` to `max`; in a query it is text.
pub fn number(min: u64, max: u64) -> impl Fn(&Value) -> Result<u64, Wrong> {
    move |value| {
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let number = number.ok_or(("format_invalid", format!("must be a whole number from {min} to {max}")))?;
        if (min..=max).contains(&number) { Ok(number) } else { Err(("out_of_bounds", format!("must be from {min} to {max}"))) }
    }
}

/// The code of a currency (ISO 4217).
pub fn currency(value: &Value) -> Result<String, Wrong> {
    match value.as_str() {
        Some(code) if code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase()) => Ok(code.to_owned()),
        _ => Err(("format_invalid", "must be the code of a currency, such as USD".into())),
    }
}

pub fn yes_or_no(value: &Value) -> Result<bool, Wrong> {
    value.as_bool().ok_or(("format_invalid", "must be true or false".to_owned()))
}

/// A list of at most `max` values.
pub fn list<T>(max: usize, read: impl Fn(&Value) -> Result<T, Wrong>) -> impl Fn(&Value) -> Result<Vec<T>, Wrong> {
    move |value| {
        let values = value.as_array().ok_or(("format_invalid", "must be a list".to_owned()))?;
        if values.len() > max {
            return Err(("too_long", format!("must have at most {max} entries")));
        }
        let nth = |(n, value)| read(value).map_err(|(word, message)| (word, format!("entry {}: {message}", n + 1)));
        values.iter().enumerate().map(nth).collect()
    }
}

/// A JSON body. An empty one is an empty object.
#[derive(Debug)]
pub struct Body<T>(pub T, /** As it came, for the idempotency fingerprint. */ pub axum::body::Bytes);

impl<T: Form, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (object, bytes) = read_object(request, BODY_BYTES_MAX).await?;
        Ok(Self(Fields::new(object).finish()?, bytes))
    }
}

/// A JSON body of at most `MAX` bytes whose words somebody else knows.
#[derive(Debug)]
pub struct JsonObject<const MAX: usize = BODY_BYTES_MAX>(pub Map<String, Value>);

impl<const MAX: usize, S: Send + Sync> FromRequest<S> for JsonObject<MAX> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        Ok(Self(read_object(request, MAX).await?.0))
    }
}

async fn read_object(request: Request, bytes_max: usize) -> Result<(Map<String, Value>, axum::body::Bytes), ApiError> {
    let bytes = read_json(request, bytes_max).await?;
    if bytes.is_empty() {
        return Ok((Map::new(), bytes));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => {
            // No database keeps it as text, and none of what is asked for has a use for it.
            let with_nul = object.iter().filter(|(name, value)| name.contains('\0') || has_nul(value));
            let message = "must not hold the character NUL";
            let issues: Vec<_> = with_nul.map(|(name, _)| issue(&shortened(name), "format_invalid", message)).collect();
            if issues.is_empty() { Ok((object, bytes)) } else { Err(ApiError::invalid(&issues)) }
        }
        Ok(_) => Err(ApiError::saying(ErrorCode::MalformedBody, "The body must be a JSON object.")),
        Err(why) => Err(ApiError::saying(ErrorCode::MalformedBody, format!("The body is not JSON: {why}."))),
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, member)| name.contains('\0') || has_nul(member)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A name that a client has given: bounded, it may be echoed.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

/// A body of at most `bytes_max` that says that it is JSON; it is not looked into.
pub async fn read_json(request: Request, bytes_max: usize) -> Result<axum::body::Bytes, ApiError> {
    let media_type = request.headers().get(header::CONTENT_TYPE).cloned();
    let bytes = axum::body::to_bytes(request.into_body(), bytes_max).await.map_err(|error| {
        let too_large =
            std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        ApiError::new(if too_large { ErrorCode::BodyTooLarge } else { ErrorCode::MalformedBody })
    })?;
    if !bytes.is_empty() && !may_be_json(media_type.as_ref()) {
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType));
    }
    Ok(bytes)
}

/// JSON, or what says nothing: no media type at all, and the one that `curl -d` and HTML forms send unasked.
/// A form of another site cannot do harm by it: what changes something by a cookie needs a header that no form can send,
/// and no cookie is given out to a page of another site.
fn may_be_json(media_type: Option<&HeaderValue>) -> bool {
    let Some(value) = media_type else { return true };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "application/x-www-form-urlencoded")
}

/// The query string.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: Form, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut given = Map::new();
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            if given.insert(name.clone().into_owned(), Value::String(value.into_owned())).is_some() {
                return Err(ApiError::invalid(&[issue(&name, "format_invalid", "is given more than once")]));
            }
        }
        Ok(Self(Fields::new(given).finish()?))
    }
}
