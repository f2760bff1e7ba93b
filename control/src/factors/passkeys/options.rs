//! What a page hands to the browser, in the form that `PublicKeyCredential.parseCreationOptionsFromJSON` and
//! `parseRequestOptionsFromJSON` take.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use utoipa::ToSchema;

use super::{act::GOOD_MS, ceremony::Site, cose::ALGORITHMS, store::Passkey};
use crate::users::User;

const PUBLIC_KEY: &str = "public-key";

/// For `navigator.credentials.create`, as `publicKey`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreationOptions {
    rp: Rp,
    user: Handle,
    /// In base64url, as all bytes here.
    challenge: String,
    pub_key_cred_params: Vec<Parameter>,
    /// Milliseconds.
    timeout: i64,
    /// Passkeys that the person has: no authenticator makes a second one.
    exclude_credentials: Vec<Descriptor>,
    authenticator_selection: Selection,
    attestation: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct Rp {
    id: String,
    name: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Handle {
    id: String,
    name: String,
    display_name: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Parameter {
    #[serde(rename = "type")]
    kind: &'static str,
    alg: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Descriptor {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    transports: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Selection {
    resident_key: &'static str,
    user_verification: &'static str,
}

/// For `navigator.credentials.get`, as `publicKey`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestOptions {
    /// In base64url, as all bytes here.
    challenge: String,
    /// Milliseconds.
    timeout: i64,
    rp_id: String,
    /// Empty where the authenticator is to say whose it is.
    allow_credentials: Vec<Descriptor>,
    user_verification: &'static str,
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl From<&Passkey> for Descriptor {
    fn from(passkey: &Passkey) -> Self {
        let transports = serde_json::from_str(&passkey.transports).unwrap_or_default();
        Self { kind: PUBLIC_KEY, id: b64(&passkey.credential_id), transports }
    }
}

impl CreationOptions {
    pub(super) fn new(site: Site, user: &User, challenge: &[u8], held: &[Passkey]) -> Self {
        let called = if user.name.is_empty() { &user.email } else { &user.name };
        Self {
            rp: Rp { id: site.id, name: "Clearway" },
            user: Handle { id: b64(user.id.as_bytes()), name: user.email.clone(), display_name: called.clone() },
            challenge: b64(challenge),
            pub_key_cred_params: ALGORITHMS.map(|alg| Parameter { kind: PUBLIC_KEY, alg }).into(),
            timeout: GOOD_MS,
            exclude_credentials: held.iter().map(Descriptor::from).collect(),
            authenticator_selection: Selection { resident_key: "preferred", user_verification: "required" },
            attestation: "none",
        }
    }
}

impl RequestOptions {
    pub(super) fn new(site: Site, challenge: &[u8], held: &[Passkey]) -> Self {
        Self {
            challenge: b64(challenge),
            timeout: GOOD_MS,
            rp_id: site.id,
            allow_credentials: held.iter().map(Descriptor::from).collect(),
            user_verification: "required",
        }
    }
}
