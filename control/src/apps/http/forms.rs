//! The bodies and queries of operations on apps. What is read by `update` is described here.

use clearway_config::{AccountId, AppId};
use utoipa::{IntoParams, ToSchema};

use super::super::content::{Category, Permission, Pricing};
use crate::http::{
    Fields, Form, Paging,
    fields::{parsed, text},
};

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 1_000;

/// What a new app shall be; every field but the name may follow later.
#[derive(Debug, ToSchema)]
#[schema(as = AppCreateForm, example = json!({"name": "Slack Integration", "summary": "Send notifications to Slack", "category": "communication"}))]
#[expect(dead_code, reason = "describes the body for the document; NewApp is what is read")]
pub(super) struct CreateDocument {
    /// 1 to 80 characters.
    #[schema(min_length = 1, max_length = 80)]
    name: String,
    /// 3 to 60 letters a to z, digits and single `-` between them, for the URL of its page; made from the name when left out.
    #[schema(min_length = 3, max_length = 60)]
    slug: Option<String>,
    #[serde(flatten)]
    content: UpdateDocument,
}

/// What the next version shall say; a field left out stays, null clears it.
#[derive(Debug, ToSchema)]
#[schema(as = AppUpdateForm, example = json!({"version": "1.1.0", "features": ["Post messages", "Upload files"],
    "permissions": [{"scope": "read:events", "reason": "To post what happens to a channel.", "optional": false}],
    "pricing": {"model": "fixed", "currency": "USD", "monthly": 9990000}}))]
#[expect(dead_code, reason = "describes the body for the document; ContentUpdate is what is read")]
pub(super) struct UpdateDocument {
    /// The number of the version: three whole numbers, greater than that of the live one. The next one when left out.
    #[schema(pattern = "^[0-9]{1,6}\\.[0-9]{1,6}\\.[0-9]{1,6}$")]
    version: Option<String>,
    /// 1 to 80 characters. Cannot be cleared.
    #[schema(min_length = 1, max_length = 80)]
    name: Option<String>,
    /// One line.
    #[schema(max_length = 160)]
    summary: Option<String>,
    /// Plain text with lines.
    #[schema(max_length = 10000)]
    description: Option<String>,
    category: Option<Category>,
    /// `https` only, as are all pages.
    #[schema(max_length = 2048)]
    icon_url: Option<String>,
    #[schema(max_length = 2048)]
    documentation_url: Option<String>,
    #[schema(max_length = 2048)]
    support_url: Option<String>,
    #[schema(max_length = 2048)]
    privacy_url: Option<String>,
    #[schema(max_items = 20)]
    features: Option<Vec<String>>,
    /// What the app asks an installer for. Each scope needs a reason when the version is submitted.
    #[schema(max_items = 32)]
    permissions: Option<Vec<Permission>>,
    /// Where OAuth may send people back to: `https`, exactly as it will be used. Looked at when the version is submitted.
    #[schema(max_items = 10)]
    redirect_uris: Option<Vec<String>>,
    /// Where the app is told what happens. It must answer 401 to what is not signed by a secret that it knows.
    #[schema(max_length = 2048)]
    webhook_url: Option<String>,
    pricing: Option<Pricing>,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
pub(super) struct ListParams {
    /// Another account's apps; for admins.
    account_id: Option<String>,
}

#[derive(Debug)]
pub(super) struct ListForm {
    pub(super) account_id: Option<AccountId>,
    pub(super) paging: Paging<AppId>,
}

impl Form for ListForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let account_id = fields.optional("account_id", parsed);
        let paging = Paging::read(fields);
        Some(Self { account_id: account_id?, paging: paging? })
    }
}

/// Why.
#[derive(Debug, ToSchema)]
#[schema(as = AppReasonForm, example = json!({"reason": "The privacy page cannot be reached."}))]
pub(super) struct ReasonForm {
    /// 1 to 1,000 characters, which the developer reads.
    #[schema(min_length = 1, max_length = 1000)]
    pub(super) reason: String,
}

impl Form for ReasonForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { reason: fields.required("reason", text(REASON_CHARS_MAX))? })
    }
}

#[derive(Debug, ToSchema)]
#[schema(as = AppFeatureForm, example = json!({"featured": true}))]
pub(super) struct FeatureForm {
    pub(super) featured: bool,
}

impl Form for FeatureForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { featured: fields.required("featured", crate::http::fields::yes_or_no)? })
    }
}

/// A body without fields.
#[derive(Debug)]
pub(super) struct Nothing;

impl Form for Nothing {
    fn read(_: &mut Fields) -> Option<Self> {
        Some(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use utoipa::PartialSchema;

    use super::{
        super::super::{ContentUpdate, NewApp},
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
        assert_eq!(named::<UpdateDocument>(), read::<ContentUpdate>());
        assert_eq!(named::<Pricing>(), read::<Pricing>());
        assert_eq!(named::<Permission>(), read::<Permission>());
        let mut created = read::<ContentUpdate>();
        created.insert("slug".into());
        assert_eq!(created, read::<NewApp>());
    }
}
