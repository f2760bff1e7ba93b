//! `/admin/certificates`: for the scope `admin:platform`. No answer holds a private key.

use std::str::FromStr;

use axum::extract::State;
use clearway_config::{ErrorCode, envelope::Success};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

use super::{CertificateError, Expected, New, put, read, remove, store};
use crate::{
    db::undecodable,
    http::{
        AdminPlatform, Answer, Answered, Api, ApiError, Body, Fields, Form, Id, IfMatch, List, PageParams, Paging, Permit, Query,
        Repeatable, Turn, fields, tagged, time::rfc3339,
    },
    sync::{Objects, Propagation, Revision, Wait},
};

/// Bytes of a chain at most.
const CHAIN_BYTES_MAX: usize = 48 * 1024;
/// Bytes of a private key at most.
const KEY_BYTES_MAX: usize = 12 * 1024;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read_one, replace, delete))
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"chain": "-----BEGIN CERTIFICATE-----\n…", "key": "-----BEGIN PRIVATE KEY-----\n…"}))]
struct CertificateForm {
    /// PEM: the certificate, and the ones between it and its authority. 48 KiB and 16 certificates at most.
    #[schema(value_type = String)]
    chain: String,
    /// PEM: PKCS #8, PKCS #1 or SEC1, without a password; RSA of at least 2048 bits, ECDSA on P-256 or P-384, or Ed25519.
    #[schema(value_type = String)]
    key: Zeroizing<String>,
}

impl Form for CertificateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let chain = fields.required("chain", pem(CHAIN_BYTES_MAX));
        let key = fields.required("key", pem(KEY_BYTES_MAX));
        Some(Self { chain: chain?, key: Zeroizing::new(key?) })
    }
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"name": "shop", "chain": "-----BEGIN CERTIFICATE-----\n…", "key": "-----BEGIN PRIVATE KEY-----\n…"}))]
struct NamedForm {
    /// 1 to 64 of `a-z`, `0-9`, `-`, `_` and `.`.
    name: String,
    /// As when one is replaced.
    #[schema(value_type = String)]
    chain: String,
    /// As when one is replaced.
    #[schema(value_type = String)]
    key: Zeroizing<String>,
}

impl Form for NamedForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", fields::parsed::<Name>);
        let certificate = CertificateForm::read(fields);
        let (Name(name), CertificateForm { chain, key }) = (name?, certificate?);
        Some(Self { name, chain, key })
    }
}

/// A certificate's name, as other objects of a gateway have one.
#[derive(Debug)]
struct Name(String);

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
        if fits { Ok(Self(text.to_owned())) } else { Err("must be 1 to 64 of a-z, 0-9, `-`, `_` and `.`") }
    }
}

fn pem(bytes_max: usize) -> impl Fn(&Value) -> Result<String, fields::Wrong> {
    move |value| {
        let text = value.as_str().ok_or(("format_invalid", "must be text".to_owned()))?;
        if text.len() > bytes_max {
            return Err(("too_long", format!("must have {bytes_max} bytes at most")));
        }
        Ok(text.to_owned())
    }
}

/// A certificate, without its key.
#[derive(Debug, Serialize, ToSchema)]
struct CertificateView {
    name: String,
    /// The hosts and addresses that it speaks for.
    hosts: Vec<String>,
    issuer: String,
    not_before: String,
    not_after: String,
    /// In hexadecimal.
    serial: String,
    /// `sha256:` and the SHA-256 of the certificate.
    fingerprint: String,
    /// Counts its changes; also its `ETag`.
    version: i64,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct CertificateChanged {
    #[serde(flatten)]
    certificate: CertificateView,
    /// How far the change has come. Null in the replay of an idempotency key.
    propagation: Option<Propagation>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CertificateDeleted {
    name: String,
    propagation: Propagation,
}

impl CertificateView {
    fn of(stored: &store::Stored) -> Result<Self, ApiError> {
        let facts = read::facts(&stored.chain).map_err(|why| undecodable("certificates.chain", &why.to_string()))?;
        let store::Stored { name, version, created_at, updated_at, .. } = stored;
        Ok(Self {
            name: name.clone(),
            hosts: facts.names,
            issuer: facts.issuer,
            not_before: rfc3339(facts.not_before_s.saturating_mul(1000)),
            not_after: rfc3339(facts.not_after_s.saturating_mul(1000)),
            serial: facts.serial,
            fingerprint: facts.fingerprint,
            version: *version,
            created_at: rfc3339(*created_at),
            updated_at: rfc3339(*updated_at),
        })
    }
}

/// List certificates
///
/// By name, without their keys.
#[utoipa::path(get, path = "/admin/certificates", operation_id = "certificates_list", tag = "gateway", params(PageParams),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "A page of certificates", body = Success<List<CertificateView>>)))]
async fn list(State(api): State<Api>, _: Permit<AdminPlatform>, Query(paging): Query<Paging<String>>) -> Answered {
    let page = store::list(&api.db, paging).await?;
    let total = store::count(&api.db).await?;
    let items = page.items.iter().map(CertificateView::of).collect::<Result<Vec<_>, _>>()?;
    Answer::ok(&List { items, total: Some(total), next_cursor: page.next })
}

/// Add a certificate
///
/// Shown to clients that ask for one of its hosts, once every proxy has it. Where a proxy's own files have a certificate for
/// the same host, that one is shown there, and the proxy counts as `refused`.
#[utoipa::path(post, path = "/admin/certificates", operation_id = "certificates_create", tag = "gateway",
    request_body = NamedForm, security(("key" = ["admin:platform"])),
    responses((status = 201, description = "The certificate", body = Success<CertificateChanged>)))]
async fn create(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    repeatable: Repeatable,
    Body(NamedForm { name, chain, key }, bytes): Body<NamedForm>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    let (mut tx, ticket) = match turn {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let new = New { name, chain, key };
    let (stored, revision) = put(&mut tx, (&api.world, &api.secrets), &caller, new, Expected::None).await?;
    let kept = CertificateChanged { certificate: CertificateView::of(&stored)?, propagation: None };
    ticket.keep(&mut tx, StatusCode::CREATED, &kept, api.world.now_ms()).await?;
    tx.commit().await?;
    changed(&api, &stored, revision, Wait::Briefly).await
}

/// Read a certificate
///
/// Without its private key, which no answer has.
#[utoipa::path(get, path = "/admin/certificates/{id}", operation_id = "certificates_read", tag = "gateway",
    params(("id" = String, Path, description = "Its name")), security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The certificate", body = Success<CertificateView>)))]
async fn read_one(State(api): State<Api>, _: Permit<AdminPlatform>, Id(Name(name)): Id<Name>) -> Answered {
    let stored = store::find(&api.db, &name).await?.ok_or_else(ApiError::not_found)?;
    Ok(tagged(Answer::ok(&CertificateView::of(&stored)?)?, stored.version))
}

/// Create or replace a certificate
///
/// `If-Match` with the `ETag` that was read keeps two editors apart; `If-None-Match: *` only creates. Connections that stand
/// keep what they were shown. A replacement is answered once every proxy has acknowledged it, or refuses all requests.
#[utoipa::path(put, path = "/admin/certificates/{id}", operation_id = "certificates_put", tag = "gateway",
    params(("id" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create")),
    request_body = CertificateForm, security(("key" = ["admin:platform"])),
    responses((status = 200, description = "As it is now", body = Success<CertificateChanged>),
        (status = 201, description = "It was created", body = Success<CertificateChanged>)))]
async fn replace(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Id(Name(name)): Id<Name>,
    expected: IfMatch,
    Body(form, _): Body<CertificateForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let new = New { name, chain: form.chain, key: form.key };
    let put = put(&mut tx, (&api.world, &api.secrets), &caller, new, expected.into()).await;
    let (stored, revision) = put.map_err(|error| match error {
        CertificateError::Taken => ApiError::new(ErrorCode::PreconditionFailed),
        error => error.into(),
    })?;
    tx.commit().await?;
    changed(&api, &stored, revision, if stored.version == 1 { Wait::Briefly } else { Wait::Enforced }).await
}

/// Delete a certificate
///
/// Answered once no proxy shows it any more, or refuses all requests.
#[utoipa::path(delete, path = "/admin/certificates/{id}", operation_id = "certificates_delete", tag = "gateway",
    params(("id" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "It is gone", body = Success<CertificateDeleted>)))]
async fn delete(State(api): State<Api>, caller: Permit<AdminPlatform>, Id(Name(name)): Id<Name>, expected: IfMatch) -> Answered {
    let mut tx = api.db.begin().await?;
    let revision = remove(&mut tx, &api.world, &caller, &name, expected.into()).await?;
    tx.commit().await?;
    let propagation = api.hub.objects_propagated(revision, objects(&name), Wait::Enforced).await;
    Answer::ok(&CertificateDeleted { name, propagation })
}

async fn changed(api: &Api, stored: &store::Stored, revision: Revision, wait: Wait) -> Answered {
    let propagation = Some(api.hub.objects_propagated(revision, objects(&stored.name), wait).await);
    let changed = CertificateChanged { certificate: CertificateView::of(stored)?, propagation };
    let answer = if stored.version == 1 { Answer::created(&changed)? } else { Answer::ok(&changed)? };
    Ok(tagged(answer, stored.version))
}

/// As proxies name it where they refuse it.
fn objects(name: &str) -> Objects {
    Objects::from([format!("certificate/{name}")])
}

impl From<IfMatch> for Expected {
    fn from(IfMatch(version): IfMatch) -> Self {
        match version {
            None => Self::Any,
            Some(0) => Self::None,
            Some(version) => Self::Version(version),
        }
    }
}
