//! What the operations on keys are given.

use clearway_config::{
    AccountId, Environment, KeyId, Limits, Scope, Scopes,
    limits::{PER_DAY_MAX, PER_SECOND_MAX},
    scope::SCOPES_MAX,
};
use ipnet::IpNet;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::super::{
    model::{ALLOWED_MAX, NAME_CHARS_MAX, NewKey, OVERLAP_MAX, allowed_of},
    update::{KeyUpdate, LimitsUpdate},
};
use crate::http::{
    ApiError, Fields, Form, Paging,
    fields::{Wrong, list, number, parsed, text, yes_or_no},
    issue,
    time::moment,
};

/// What a new key shall be.
#[derive(Debug, ToSchema)]
#[schema(as = KeyCreateForm, example = json!({"name": "ci", "scopes": ["read:apps"], "expires_at": "2027-01-01T00:00:00Z", "allowed_addresses": ["192.0.2.0/24"]}))]
pub(crate) struct CreateForm {
    /// 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// `live` when left out.
    #[schema(value_type = Option<String>)]
    environment: Option<Environment>,
    /// None when left out; none that its maker lacks.
    #[schema(value_type = Option<Vec<String>>, max_items = 64)]
    scopes: Option<Scopes>,
    /// RFC 3339, later than now; never when left out.
    #[schema(value_type = Option<String>)]
    expires_at: Option<i64>,
    /// IPv4 or IPv6 addresses or networks; every address when left out.
    #[schema(value_type = Option<Vec<String>>, max_items = 64)]
    allowed_addresses: Option<Vec<IpNet>>,
    /// The key's own limits, beside its account's; none when left out.
    #[schema(value_type = Option<LimitsForm>)]
    limits: Option<Limits>,
    /// Whether requests made with the key must be signed (RFC 9421); false when left out.
    require_signature: Option<bool>,
    /// The account that the key is for; an admin may name another than its own.
    #[schema(value_type = Option<String>)]
    pub(crate) account_id: Option<AccountId>,
}

/// What to change; a field left out stays, null clears it.
#[derive(Debug, ToSchema)]
#[schema(as = KeyUpdateForm, example = json!({"name": "ci, narrowed", "expires_at": null, "limits": {"per_second": 5}}))]
pub(crate) struct UpdateForm {
    /// 1 to 100 characters. Cannot be cleared.
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    #[schema(value_type = Option<Vec<String>>, max_items = 64)]
    scopes: Option<Scopes>,
    /// RFC 3339; null is never.
    #[schema(value_type = Option<String>)]
    expires_at: Option<Option<i64>>,
    #[schema(value_type = Option<Vec<String>>, max_items = 64)]
    allowed_addresses: Option<Vec<IpNet>>,
    #[schema(value_type = Option<LimitsForm>)]
    limits: Option<LimitsUpdate>,
    /// Whether requests made with the key must be signed (RFC 9421); null is false.
    require_signature: Option<bool>,
}

/// A key's own limits; one left out stays, null removes it.
#[derive(Debug, ToSchema)]
pub(crate) struct LimitsForm {
    #[schema(minimum = 1, maximum = 10000000)]
    #[expect(dead_code, reason = "describes the body for the document; LimitsUpdate is what is read")]
    per_second: Option<u32>,
    #[schema(minimum = 1)]
    #[expect(dead_code, reason = "as above")]
    per_day: Option<u64>,
    #[schema(minimum = 1)]
    #[expect(dead_code, reason = "as above")]
    per_month: Option<u64>,
    #[schema(minimum = 1, maximum = 10000000)]
    #[expect(dead_code, reason = "as above")]
    concurrent: Option<u32>,
}

#[derive(Debug, Default, ToSchema)]
#[schema(as = KeyRotateForm)]
pub(crate) struct RotateForm {
    /// Seconds for which older secrets stay valid at most: 0 to 2,592,000 (30 days); a day when left out.
    #[schema(minimum = 0, maximum = 2592000)]
    pub(crate) overlap: Option<u64>,
}

/// A body without fields.
#[derive(Debug)]
pub(crate) struct Nothing;

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
pub(crate) struct ListParams {
    /// Another account's keys; for admins.
    account_id: Option<String>,
}

#[derive(Debug)]
pub(crate) struct ListForm {
    pub(crate) account_id: Option<AccountId>,
    pub(crate) paging: Paging<KeyId>,
}

impl Form for CreateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", text(NAME_CHARS_MAX));
        let environment = fields.optional("environment", environment);
        let scopes = fields.optional("scopes", scopes);
        let expires_at = fields.optional("expires_at", moment);
        let allowed_addresses = fields.optional("allowed_addresses", allowed);
        let limits = fields.object::<LimitsUpdate>("limits");
        let require_signature = fields.optional("require_signature", yes_or_no);
        let account_id = fields.optional("account_id", parsed);
        Some(Self {
            name: name?,
            environment: environment?,
            scopes: scopes?,
            expires_at: expires_at?,
            allowed_addresses: allowed_addresses?,
            limits: limits?.flatten().map(|given| given.apply(Limits::UNLIMITED)),
            require_signature: require_signature?,
            account_id: account_id?,
        })
    }
}

impl CreateForm {
    pub(crate) fn into_new(self, now_ms: i64) -> Result<NewKey, ApiError> {
        if self.expires_at.is_some_and(|at| at <= now_ms) {
            return Err(ApiError::invalid(&[issue("expires_at", "out_of_bounds", "must be later than now")]));
        }
        Ok(NewKey {
            name: self.name,
            environment: self.environment.unwrap_or(Environment::Live),
            scopes: self.scopes.unwrap_or_default(),
            allowed: self.allowed_addresses.unwrap_or_default(),
            limits: self.limits.unwrap_or_default(),
            require_signature: self.require_signature.unwrap_or_default(),
            expires_at: self.expires_at,
        })
    }
}

impl Form for UpdateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.patch("name", text(NAME_CHARS_MAX));
        if matches!(name, Some(Some(None))) {
            fields.refuse("name", ("required", "cannot be null".into()));
        }
        let scopes = fields.patch("scopes", scopes);
        let expires_at = fields.patch("expires_at", moment);
        let allowed = fields.patch("allowed_addresses", allowed);
        let limits = fields.object::<LimitsUpdate>("limits");
        let require_signature = fields.patch("require_signature", yes_or_no);
        Some(Self {
            name: name?.flatten(),
            scopes: scopes?.map(Option::unwrap_or_default),
            expires_at: expires_at?,
            allowed_addresses: allowed?.map(Option::unwrap_or_default),
            limits: limits?.map(|given| given.unwrap_or(LimitsUpdate::CLEAR)),
            require_signature: require_signature?.map(Option::unwrap_or_default),
        })
    }
}

impl UpdateForm {
    pub(crate) fn into_update(self) -> KeyUpdate {
        let Self { name, scopes, expires_at, allowed_addresses: allowed, limits, require_signature } = self;
        KeyUpdate { name, scopes, allowed, limits, require_signature, expires_at }
    }
}

impl Form for LimitsUpdate {
    fn read(fields: &mut Fields) -> Option<Self> {
        let narrow = |n: Option<Option<u64>>| n.map(|n| n.map(|n| u32::try_from(n).expect("at most PER_SECOND_MAX")));
        let per_second = fields.patch("per_second", number(1, PER_SECOND_MAX));
        let per_day = fields.patch("per_day", number(1, PER_DAY_MAX));
        let per_month = fields.patch("per_month", number(1, PER_DAY_MAX));
        let concurrent = fields.patch("concurrent", number(1, PER_SECOND_MAX));
        Some(Self { per_second: narrow(per_second?), per_day: per_day?, per_month: per_month?, concurrent: narrow(concurrent?) })
    }
}

impl Form for RotateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { overlap: fields.optional("overlap", number(0, OVERLAP_MAX))? })
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

fn environment(value: &Value) -> Result<Environment, Wrong> {
    match value.as_str() {
        Some("live") => Ok(Environment::Live),
        Some("test") => Ok(Environment::Test),
        _ => Err(("unknown", "must be live or test".into())),
    }
}

fn scopes(value: &Value) -> Result<Scopes, Wrong> {
    Ok(list(SCOPES_MAX, parsed::<Scope>)(value)?.into())
}

fn allowed(value: &Value) -> Result<Vec<IpNet>, Wrong> {
    let one = |value: &Value| allowed_of(value.as_str().unwrap_or_default()).map_err(|why| ("format_invalid", why));
    let mut nets = list(ALLOWED_MAX, one)(value)?;
    nets.sort_unstable();
    nets.dedup();
    Ok(nets)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use utoipa::PartialSchema;

    use super::*;

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
        assert_eq!(named::<CreateForm>(), read::<CreateForm>());
        assert_eq!(named::<UpdateForm>(), read::<UpdateForm>());
        assert_eq!(named::<LimitsForm>(), read::<LimitsUpdate>());
        assert_eq!(named::<RotateForm>(), read::<RotateForm>());
    }
}
