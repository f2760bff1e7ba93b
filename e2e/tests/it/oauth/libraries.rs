//! Client libraries of other languages, which find everything by the metadata: at a gateway that is where it says that it is.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::run;
use crate::{
    script::{Interpreter, NODE, PYTHON},
    up::{Up, root},
};

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

/// A Clearway whose issuer is its gateway's encrypted port on this machine, and where applications may register themselves.
pub(super) struct Published {
    pub(super) up: Up,
    pub(super) issuer: String,
    data: TempDir,
}

impl Published {
    pub(super) fn start() -> Self {
        Self::start_asking_for_nonces(false)
    }

    fn start_asking_for_nonces(nonces: bool) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        // Known before the start, as it stands in the settings.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let issuer = format!("https://localhost:{port}");
        for file in ["clearway.toml", "gateway.toml", "plans.toml"] {
            let text = std::fs::read_to_string(root().join("config").join(file)).expect("the settings that ship");
            let text = text.replace("public_url = \"http://127.0.0.1:8080\"", &format!("public_url = \"{issuer}\""));
            let text = text.replace("\nregistration = \"closed\"", "\nregistration = \"open\"");
            let text = text.replace("\ndpop_nonces = false", &format!("\ndpop_nonces = {nonces}"));
            std::fs::write(data.path().join(file), text).expect("a writable directory");
        }
        let listens = ["--gateway-tls-addr", &format!("127.0.0.1:{port}")];
        let up = Up::start_with(&data.path().join("data"), &data.path().join("clearway.toml"), None, &listens);
        // Proofs of the second that a gateway has started in are refused: it may have accepted them before.
        let ready_s = now_s();
        while now_s() <= ready_s {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { up, issuer, data }
    }

    /// The certificate of the gateway, which nobody has signed.
    pub(super) fn certificate(&self) -> PathBuf {
        self.data.path().join("data/proxy/tls/localhost.pem")
    }

    /// The steps that a script says went as they should.
    fn run(&self, interpreter: &Interpreter, file: &str) -> Value {
        let certificate = self.certificate();
        let env: [(&str, &Path); 2] = [("NODE_EXTRA_CA_CERTS", &certificate), ("REQUESTS_CA_BUNDLE", &certificate)];
        run(interpreter, file, &self.up, &self.issuer, &env)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_oauthlib_acts_for_a_person_and_by_itself() {
    let published = Published::start();
    let steps = published.run(&PYTHON, "by_requests_oauthlib.py");
    assert_eq!(steps, json!(["metadata", "code", "userinfo", "refresh", "revocation", "client_credentials"]));
    published.up.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openid_client_takes_every_answer_from_discovery_to_devices() {
    openid_client_takes_all_of(Published::start()).await;
}

/// RFC 9449, 8 and 9: it asks again by itself, with the nonce that it was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openid_client_takes_every_answer_where_nonces_are_asked_for() {
    openid_client_takes_all_of(Published::start_asking_for_nonces(true)).await;
}

async fn openid_client_takes_all_of(published: Published) {
    let steps = published.run(&NODE, "by_openid_client.mjs");
    let all = json!([
        "discovery",
        "code",
        "id_token",
        "userinfo",
        "refresh",
        "introspection",
        "revocation",
        "pushed",
        "client_credentials",
        "device",
        "registration",
        "dpop"
    ]);
    assert_eq!(steps, all);
    published.up.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth4webapi_takes_every_answer_and_verifies_access_tokens() {
    let published = Published::start();
    let steps = published.run(&NODE, "by_oauth4webapi.mjs");
    let all = json!([
        "discovery",
        "pushed",
        "code",
        "id_token",
        "userinfo",
        "access_token",
        "refresh",
        "introspection",
        "revocation",
        "client_credentials",
        "device",
        "dpop",
        "refusal"
    ]);
    assert_eq!(steps, all);
    published.up.stop().await;
}
