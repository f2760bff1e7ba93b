//! A webhook's settings as they are given.

mod document;
mod parts;

use std::collections::BTreeMap;

use clearway_config::AccountId;
use clearway_filters::webhook::HmacSecret;
use serde_json::Value;
use zeroize::Zeroizing;

pub(crate) use self::document::{CreateDocument, UpdateDocument};

use super::super::{
    change::{NewCertificate, NewOauth, SettingsUpdate},
    filter::FILTER_CHARS_MAX,
    headers::{self, AUTHORIZATION_CHARS_MAX, HEADERS_MAX, Header},
    model::{CONCURRENCY_DEFAULT, CONCURRENCY_MAX, DESCRIPTION_CHARS_MAX, Ordering, PATTERNS_MAX, RATE_LIMIT_MAX, Timeouts},
    retry::RetryPolicy,
    target_url::URL_CHARS_MAX,
};
use crate::{
    events::Pattern,
    http::{
        Fields, Form,
        fields::{Wrong, list, number, parsed, text, text_or_none, yes_or_no},
    },
};

/// What a new webhook shall be: its settings, whose it is and what it is signed by.
#[derive(Debug)]
pub(crate) struct CreateForm {
    pub(crate) settings: SettingsUpdate,
    pub(crate) account_id: Option<AccountId>,
    pub(crate) secret: Option<HmacSecret>,
}

/// What to change.
#[derive(Debug)]
pub(crate) struct UpdateForm(pub(crate) SettingsUpdate);

impl Form for CreateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let settings = settings(fields);
        let account_id = fields.optional("account_id", parsed);
        let secret = fields.optional("secret", parsed);
        if let Some(settings) = &settings {
            for (name, is_missing) in [("url", settings.url.is_none()), ("events", settings.events.is_none())] {
                if is_missing {
                    fields.refuse(name, ("required", "is required".into()));
                }
            }
        }
        Some(Self { settings: settings?, account_id: account_id?, secret: secret? })
    }
}

impl Form for UpdateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        settings(fields).map(Self)
    }
}

/// Null resets what can be reset.
fn settings(fields: &mut Fields) -> Option<SettingsUpdate> {
    fields.also_called("retry_policy", "retryPolicy");
    let url = fields.kept("url", text(URL_CHARS_MAX));
    let events = fields.kept("events", events);
    let description = fields.patch("description", text_or_none(DESCRIPTION_CHARS_MAX));
    let filter = fields.patch("filter", text(FILTER_CHARS_MAX));
    let headers = fields.patch("headers", custom_headers);
    let authorization = fields.patch("authorization", authorization);
    let active = fields.patch("active", yes_or_no);
    let retry_policy = fields.object::<RetryPolicy>("retry_policy");
    let rate_limit = fields.patch("rate_limit", narrow(1, RATE_LIMIT_MAX));
    let concurrency = fields.patch("concurrency", narrow(1, CONCURRENCY_MAX));
    let ordering = fields.patch("ordering", ordering);
    let brand = fields.patch("brand", parsed);
    let ed25519 = fields.patch("ed25519", yes_or_no);
    let timeouts = fields.object::<Timeouts>("timeouts");
    let client_certificate = fields.object::<NewCertificate>("client_certificate");
    let oauth = fields.object::<NewOauth>("oauth");
    Some(SettingsUpdate {
        url: url?,
        events: events?,
        description: description?.map(Option::unwrap_or_default),
        filter: filter?,
        headers: headers?.map(Option::unwrap_or_default),
        authorization: authorization?,
        active: active?.map(|active| active.unwrap_or(true)),
        retry_policy: retry_policy?.map(Option::unwrap_or_default),
        rate_limit: rate_limit?,
        concurrency: concurrency?.map(|concurrency| concurrency.unwrap_or(CONCURRENCY_DEFAULT)),
        ordering: ordering?.map(Option::unwrap_or_default),
        brand: brand?,
        ed25519: ed25519?.map(Option::unwrap_or_default),
        timeouts: timeouts?.map(Option::unwrap_or_default),
        client_certificate: client_certificate?,
        oauth: oauth?,
    })
}

fn events(value: &Value) -> Result<Vec<Pattern>, Wrong> {
    let mut events = list(PATTERNS_MAX, parsed::<Pattern>)(value)?;
    if events.is_empty() {
        return Err(("out_of_bounds", format!("must have 1 to {PATTERNS_MAX} entries")));
    }
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

fn custom_headers(value: &Value) -> Result<Vec<Header>, Wrong> {
    let given = value.as_object().ok_or(("format_invalid", "must be an object of texts".to_owned()))?;
    if given.len() > HEADERS_MAX {
        return Err(("too_long", format!("must have at most {HEADERS_MAX} headers")));
    }
    let mut read = BTreeMap::new();
    for (name, value) in given {
        let value = value.as_str().ok_or(("format_invalid", "must be an object of texts".to_owned()))?;
        let header = headers::header(name, value).map_err(|why| ("invalid", why))?;
        let lower = name.to_ascii_lowercase();
        if read.insert(lower.clone(), header).is_some() {
            return Err(("invalid", format!("{lower} is given more than once")));
        }
    }
    Ok(read.into_values().collect())
}

fn authorization(value: &Value) -> Result<Zeroizing<String>, Wrong> {
    match value.as_str() {
        Some(text) if headers::is_authorization(text) => Ok(Zeroizing::new(text.to_owned())),
        _ => Err((
            "format_invalid",
            format!("must have 1 to {AUTHORIZATION_CHARS_MAX} visible ASCII characters and blanks between them"),
        )),
    }
}

fn ordering(value: &Value) -> Result<Ordering, Wrong> {
    let read = value.as_str().and_then(Ordering::parse);
    read.ok_or(("unknown", "must be none or object".into()))
}

/// A number that fits into 32 bits, as `max` does.
fn narrow(min: u64, max: u64) -> impl Fn(&Value) -> Result<u32, Wrong> {
    move |value| number(min, max)(value).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use utoipa::PartialSchema;

    use super::{
        document::{CertificateForm, OauthForm, RetryForm, TimeoutsForm},
        *,
    };

    /// The document describes a form by its struct, and the form is read by hand: they must name the same fields.
    #[test]
    fn the_document_names_the_fields_that_are_read() {
        fn named<T: PartialSchema>() -> BTreeSet<String> {
            let schema = serde_json::to_value(T::schema()).unwrap();
            schema["properties"].as_object().unwrap().keys().cloned().collect()
        }
        fn read<T: Form>() -> BTreeSet<String> {
            Fields::names::<T>().into_iter().map(str::to_owned).collect()
        }
        assert_eq!(named::<CreateDocument>(), read::<CreateForm>());
        assert_eq!(named::<UpdateDocument>(), read::<UpdateForm>());
        assert_eq!(named::<RetryForm>(), read::<RetryPolicy>());
        assert_eq!(named::<TimeoutsForm>(), read::<Timeouts>());
        assert_eq!(named::<CertificateForm>(), read::<NewCertificate>());
        assert_eq!(named::<OauthForm>(), read::<NewOauth>());
    }
}
