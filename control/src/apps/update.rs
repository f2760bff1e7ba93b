//! What may be given of an app's next version, and how it changes one.

use clearway_config::Scope;
use serde_json::Value;
use url::Url;

use super::content::{
    AMOUNT_MAX, Category, Content, DESCRIPTION_CHARS_MAX, FEATURE_CHARS_MAX, FEATURES_MAX, NAME_CHARS_MAX, Number,
    PERMISSIONS_MAX, Permission, PriceModel, Pricing, REASON_CHARS_MAX, REDIRECT_URIS_MAX, SUMMARY_CHARS_MAX, UNIT_CHARS_MAX,
    URL_CHARS_MAX,
};
use super::{
    act::NewApp,
    model::{SLUG_CHARS_MAX, is_slug},
};
use crate::http::{
    Fields, Form,
    fields::{self, Wrong, list, number, parsed, text, text_or_none},
};

/// `None` leaves a field as it is; `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct ContentUpdate {
    pub number: Option<Number>,
    pub name: Option<String>,
    pub summary: Option<String>,
    pub description: Option<String>,
    pub category: Option<Category>,
    pub icon_url: Option<Option<String>>,
    pub documentation_url: Option<Option<String>>,
    pub support_url: Option<Option<String>>,
    pub privacy_url: Option<Option<String>>,
    pub features: Option<Vec<String>>,
    pub permissions: Option<Vec<Permission>>,
    pub redirect_uris: Option<Vec<String>>,
    pub webhook_url: Option<Option<String>>,
    pub pricing: Option<Pricing>,
}

impl ContentUpdate {
    pub(super) fn apply(self, old: Content) -> Content {
        Content {
            name: self.name.unwrap_or(old.name),
            summary: self.summary.unwrap_or(old.summary),
            description: self.description.unwrap_or(old.description),
            category: self.category.unwrap_or(old.category),
            icon_url: self.icon_url.unwrap_or(old.icon_url),
            documentation_url: self.documentation_url.unwrap_or(old.documentation_url),
            support_url: self.support_url.unwrap_or(old.support_url),
            privacy_url: self.privacy_url.unwrap_or(old.privacy_url),
            features: self.features.unwrap_or(old.features),
            permissions: self.permissions.unwrap_or(old.permissions),
            redirect_uris: self.redirect_uris.unwrap_or(old.redirect_uris),
            webhook_url: self.webhook_url.unwrap_or(old.webhook_url),
            pricing: self.pricing.unwrap_or(old.pricing),
        }
    }
}

impl Form for ContentUpdate {
    fn read(fields: &mut Fields) -> Option<Self> {
        let number = fields.kept("version", parsed::<Number>);
        let name = fields.kept("name", text(NAME_CHARS_MAX));
        let summary = fields.patch("summary", text_or_none(SUMMARY_CHARS_MAX));
        let description = fields.patch("description", text_or_none(DESCRIPTION_CHARS_MAX));
        let category = fields.kept("category", parsed::<Category>);
        let icon_url = fields.patch("icon_url", page);
        let documentation_url = fields.patch("documentation_url", page);
        let support_url = fields.patch("support_url", page);
        let privacy_url = fields.patch("privacy_url", page);
        let features = fields.patch("features", list(FEATURES_MAX, text(FEATURE_CHARS_MAX)));
        let permissions = fields.patch("permissions", permissions);
        let redirect_uris = fields.patch("redirect_uris", list(REDIRECT_URIS_MAX, text(URL_CHARS_MAX)));
        let webhook_url = fields.patch("webhook_url", text(URL_CHARS_MAX));
        let pricing = fields.object::<Pricing>("pricing");
        Some(Self {
            number: number?,
            name: name?,
            summary: summary?.map(Option::unwrap_or_default),
            description: description?.map(Option::unwrap_or_default),
            category: category?,
            icon_url: icon_url?,
            documentation_url: documentation_url?,
            support_url: support_url?,
            privacy_url: privacy_url?,
            features: features?.map(Option::unwrap_or_default),
            permissions: permissions?.map(Option::unwrap_or_default),
            redirect_uris: redirect_uris?.map(Option::unwrap_or_default),
            webhook_url: webhook_url?,
            pricing: pricing?.map(Option::unwrap_or_default),
        })
    }
}

impl Form for NewApp {
    fn read(fields: &mut Fields) -> Option<Self> {
        let slug = fields.optional("slug", slug);
        let content = ContentUpdate::read(fields)?;
        if content.name.is_none() {
            fields.refuse("name", ("required", "is required".into()));
        }
        Some(Self { name: content.name.clone()?, slug: slug?, content })
    }
}

impl Form for Pricing {
    fn read(fields: &mut Fields) -> Option<Self> {
        let amount = |value: &Value| number(0, AMOUNT_MAX)(value).map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        let model = fields.required("model", parsed::<PriceModel>);
        let currency = fields.optional("currency", fields::currency);
        let monthly = fields.optional("monthly", amount);
        let per_unit = fields.optional("per_unit", amount);
        let unit = fields.optional("unit", text(UNIT_CHARS_MAX));
        let free_units = fields.optional("free_units", amount);
        Some(Self {
            model: model?,
            currency: currency?,
            monthly: monthly?,
            per_unit: per_unit?,
            unit: unit?,
            free_units: free_units?,
        })
    }
}

impl Form for Permission {
    fn read(fields: &mut Fields) -> Option<Self> {
        let scope = fields.required("scope", parsed::<Scope>);
        let reason = fields.optional("reason", text_or_none(REASON_CHARS_MAX));
        let optional = fields.optional("optional", fields::yes_or_no);
        Some(Self { scope: scope?, reason: reason?.unwrap_or_default(), optional: optional?.unwrap_or_default() })
    }
}

/// Each scope once.
fn permissions(value: &Value) -> Result<Vec<Permission>, Wrong> {
    let one = |value: &Value| {
        let object = value.as_object().ok_or(("format_invalid", "must be an object with scope and reason".to_owned()))?;
        let form = Fields::new(object.clone()).finish::<Permission>();
        form.map_err(|_| ("format_invalid", "must have a scope, a reason and perhaps optional, and nothing else".to_owned()))
    };
    let mut read = list(PERMISSIONS_MAX, one)(value)?;
    read.sort_by(|a, b| a.scope.cmp(&b.scope));
    if read.windows(2).any(|pair| pair[0].scope == pair[1].scope) {
        return Err(("format_invalid", "names a scope twice".into()));
    }
    Ok(read)
}

fn slug(value: &Value) -> Result<String, Wrong> {
    let text = text(SLUG_CHARS_MAX)(value)?;
    let wrong =
        || ("format_invalid", "must be 3 to 60 letters a to z, digits and single - between them, no reserved word".into());
    if is_slug(&text) { Ok(text) } else { Err(wrong()) }
}

/// A page that people are sent to, so `https` only.
fn page(value: &Value) -> Result<String, Wrong> {
    let text = text(URL_CHARS_MAX)(value)?;
    let wrong = || ("format_invalid", "must be a URL such as https://example.com/page, without a password".into());
    match Url::parse(&text) {
        Ok(url) if url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none() => {
            if url.as_str().len() <= URL_CHARS_MAX { Ok(url.into()) } else { Err(wrong()) }
        }
        _ => Err(wrong()),
    }
}
