//! `clearway ready`: one readiness probe, for containers whose image has no other client.

use std::time::Duration;

use crate::{Fatal, api};

/// A container's runtime waits about as long.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes that are shown of why a process is not ready.
const REASON_MAX: usize = 200;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The metrics address of the process: 9090 is a gateway's port, 9091 a control plane's.
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9090")]
    url: String,
}

pub(crate) async fn run(Args { url }: &Args) -> Result<(), Fatal> {
    let url = format!("{}/health/ready", url.trim_end_matches('/'));
    let client = api::builder().timeout(TIMEOUT).no_proxy().build();
    let client = client.map_err(|e| Fatal::new(format!("cannot make an HTTP client: {e}")))?;
    let mut answer = client.get(&url).send().await.map_err(|e| Fatal::new(format!("{url}: {}", e.without_url())))?;
    if answer.status().is_success() {
        return Ok(());
    }
    let said = answer.chunk().await.ok().flatten().unwrap_or_default();
    let why = String::from_utf8_lossy(&said[..said.len().min(REASON_MAX)]);
    Err(Fatal::new(format!("not ready: {}", why.lines().next().unwrap_or_default())))
}
