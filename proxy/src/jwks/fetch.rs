//! Getting a document of keys: over HTTPS, or from a file. What comes back is bounded, and not believed yet.

use std::{path::Path, time::Duration};

use clearway_config::settings::gateway::issuer::KeyPlace;
use clearway_filters::jwt::JWKS_BYTES_MAX;

use super::Fetched;

const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn fetch(place: &KeyPlace) -> Fetched {
    let document = match place {
        KeyPlace::File(file) => from_file(file).await,
        KeyPlace::Url { url, ca_file } => from_url(url, ca_file.as_deref()).await,
    };
    document.map_or_else(Fetched::Failed, Fetched::Document)
}

async fn from_file(file: &Path) -> Result<Vec<u8>, String> {
    let length = tokio::fs::metadata(file).await.map_err(|e| e.to_string())?.len();
    if length > JWKS_BYTES_MAX as u64 {
        return Err(format!("larger than {JWKS_BYTES_MAX} bytes"));
    }
    tokio::fs::read(file).await.map_err(|e| e.to_string())
}

/// Follows no redirect: the address in the settings is the one that is trusted.
async fn from_url(url: &str, ca_file: Option<&Path>) -> Result<Vec<u8>, String> {
    // Reqwest takes the process's provider; that it is there already is no fault.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).no_proxy();
    if let Some(file) = ca_file {
        let pem = tokio::fs::read(file).await.map_err(|e| format!("{}: {e}", file.display()))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| shown(&e))?;
        builder = builder.tls_certs_only(authorities);
    }
    let client = builder.build().map_err(|e| shown(&e))?;
    let mut answer = client.get(url).header("accept", "application/json").send().await.map_err(|e| shown(&e))?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(format!("answered {}", answer.status()));
    }
    let mut document = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| shown(&e))? {
        if document.len() + chunk.len() > JWKS_BYTES_MAX {
            return Err(format!("larger than {JWKS_BYTES_MAX} bytes"));
        }
        document.extend_from_slice(&chunk);
    }
    Ok(document)
}

/// An error with what caused it.
fn shown(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
