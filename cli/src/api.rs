//! The control API as the commands use it: one request, its `data` or one clear line.

use std::time::Duration;

use clap::Args;
use reqwest::{Client, Method, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::Fatal;

/// How long an answer may take. A strict revoke waits for the auth lease of a proxy that is gone.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Where the API is and who asks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// The gateway's or the control plane's address.
    #[arg(long, env = "CLEARWAY_URL", default_value = "http://127.0.0.1:8080", global = true)]
    url: String,
    /// A file that holds the API key; without it the environment's CLEARWAY_API_KEY is used.
    #[arg(long, value_name = "FILE", global = true)]
    api_key_file: Option<std::path::PathBuf>,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug)]
pub(crate) struct Api {
    client: Client,
    base: String,
}

/// What every client of ours is like.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    // Fails only where a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let name = concat!("clearway/", env!("CARGO_PKG_VERSION"));
    Client::builder().redirect(reqwest::redirect::Policy::none()).user_agent(name)
}

impl Api {
    /// A client of the target that the command line names.
    pub(crate) fn of(target: &Target) -> Result<Self, Fatal> {
        let key = match &target.api_key_file {
            Some(file) => std::fs::read_to_string(file).map_err(|e| Fatal::new(format!("{}: {e}", file.display())))?,
            None => std::env::var("CLEARWAY_API_KEY")
                .map_err(|_| Fatal::new("no API key: set CLEARWAY_API_KEY or give --api-key-file"))?,
        };
        Self::new(&target.url, key.trim())
    }

    pub(crate) fn new(base: &str, key: &str) -> Result<Self, Fatal> {
        let mut bearer = header::HeaderValue::from_str(&format!("Bearer {key}"))
            .map_err(|_| Fatal::new("the API key holds a character that no header may carry"))?;
        bearer.set_sensitive(true);
        let client = builder()
            .timeout(TIMEOUT)
            .default_headers([(header::AUTHORIZATION, bearer)].into_iter().collect())
            .build()
            .map_err(|e| Fatal::new(format!("cannot make an HTTP client: {e}")))?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned() })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Fatal> {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Value, Fatal> {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Result<Value, Fatal> {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Fatal> {
        self.call(Method::DELETE, path, None).await
    }

    /// The answer's `data`, with what is a [`serde_json::value::RawValue`] in it byte for byte as it was answered.
    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fatal> {
        #[derive(Deserialize)]
        struct Answer<T> {
            data: T,
        }
        let text = self.answer(Method::GET, path, None).await?;
        let answer: Answer<T> = serde_json::from_str(&text)
            .map_err(|e| Fatal::new(format!("{}{path}: answered what is not known here: {e}", self.base)))?;
        Ok(answer.data)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Fatal> {
        let text = self.answer(method, path, body).await?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|_| self.not_json(path))?;
        Ok(answer["data"].take())
    }

    /// A success's text.
    async fn answer(&self, method: Method, path: &str, body: Option<Value>) -> Result<String, Fatal> {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method, &url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let broken = |e| Fatal::new(format!("{url}: {}", innermost(&e)));
        let answer = request.send().await.map_err(broken)?;
        let status = answer.status();
        let text = answer.text().await.map_err(broken)?;
        if status.is_success() {
            return Ok(text);
        }
        let body: Value =
            serde_json::from_str(&text).map_err(|_| Fatal::new(format!("{url}: answered {status} without JSON")))?;
        Err(Fatal::new(refusal(&body["error"], status.as_u16())))
    }

    fn not_json(&self, path: &str) -> Fatal {
        Fatal::new(format!("{}{path}: answered without JSON", self.base))
    }
}

/// An error answer as one line: its code, its sentence, and the fields that are wrong.
fn refusal(error: &Value, status: u16) -> String {
    let code = error["type"].as_str().unwrap_or("error");
    let message = error["message"].as_str().unwrap_or("no message");
    let fields: Vec<String> = error["details"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|f| Some(format!("{}: {}", f["field"].as_str()?, f["message"].as_str()?)))
        .collect();
    if fields.is_empty() { format!("{code} ({status}): {message}") } else { format!("{code} ({status}): {}", fields.join("; ")) }
}

/// The last cause says what happened; those before it only say that something did.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_validation_error_names_every_field_on_one_line() {
        let error = json!({"type": "validation_error", "message": "2 fields are wrong", "details": [
            {"field": "name", "issue": "required", "message": "is missing"},
            {"field": "scopes.0", "issue": "format_invalid", "message": "write action:resource"},
        ]});
        assert_eq!(refusal(&error, 400), "validation_error (400): name: is missing; scopes.0: write action:resource");
        assert_eq!(refusal(&json!({"type": "not_found", "message": "no such key"}), 404), "not_found (404): no such key");
    }
}
