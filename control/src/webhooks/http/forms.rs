//! What the operations on webhooks are given, but for a webhook's settings.

use clearway_config::{AccountId, WebhookId};
use clearway_filters::webhook::HmacSecret;
use utoipa::{IntoParams, ToSchema};

use super::super::{headers::Brand, model::OVERLAP_MAX};
use crate::http::{
    Fields, Form, Paging,
    fields::{number, parsed},
};

#[derive(Debug, Default, ToSchema)]
#[schema(as = WebhookRotateForm)]
pub(crate) struct RotateForm {
    /// Seconds for which older secrets go on signing: 0 to 604,800 (7 days); a day when left out.
    #[schema(minimum = 0, maximum = 604800)]
    pub(crate) overlap: Option<u64>,
    /// The new secret, as `whsec_` and the base64 of 24 to 64 random bytes; made here when left out.
    #[schema(value_type = Option<String>)]
    pub(crate) secret: Option<HmacSecret>,
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"brand": "Sedifex"}))]
pub(crate) struct BrandForm {
    /// 1 to 32 letters, digits and `-` between them.
    #[schema(value_type = String)]
    pub(crate) brand: Brand,
}

/// A body without fields.
#[derive(Debug)]
pub(crate) struct Nothing;

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
pub(crate) struct ListParams {
    /// Another account's webhooks; for admins.
    account_id: Option<String>,
}

#[derive(Debug)]
pub(crate) struct ListForm {
    pub(crate) account_id: Option<AccountId>,
    pub(crate) paging: Paging<WebhookId>,
}

impl Form for RotateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let overlap = fields.optional("overlap", number(0, OVERLAP_MAX));
        let secret = fields.optional("secret", parsed);
        Some(Self { overlap: overlap?, secret: secret? })
    }
}

impl Form for BrandForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { brand: fields.required("brand", parsed)? })
    }
}

impl Form for Nothing {
    fn read(_: &mut Fields) -> Option<Self> {
        Some(Self)
    }
}

impl Form for ListForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let account_id = fields.optional("account_id", parsed);
        let paging = Paging::read(fields);
        Some(Self { account_id: account_id?, paging: paging? })
    }
}
