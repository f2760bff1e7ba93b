//! What `--demo` adds: a route to the echo service, and an account with a key for each plan.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::{Fatal, api::Api};

const PLANS: [&str; 3] = ["starter", "pro", "enterprise"];

/// Writes the demo's route beside the data, as a routes file of its own.
pub(super) fn write_routes(data_dir: &Path, echo: SocketAddr) -> Result<PathBuf, Fatal> {
    let file = data_dir.join("demo-routes.toml");
    let routes = format!(
        "# Written by `clearway up --demo` at each start.\n\n\
         [[upstreams]]\nname = \"demo-echo\"\naddresses = [\"http://{echo}\"]\n\n\
         [[routes]]\nname = \"demo\"\npath = \"/demo\"\nupstream = \"demo-echo\"\nstrip_prefix = true\nauth = \"key\"\n"
    );
    std::fs::write(&file, routes).map_err(|e| Fatal::new(format!("{}: {e}", file.display())))?;
    Ok(file)
}

/// A key for each plan, `{plan: secret}`: made on the first start, rotated on every later one, since
/// no secret is stored that could be shown again.
pub(super) async fn provision(control: &str, admin_key: &str) -> Result<Value, Fatal> {
    let api = Api::new(control, admin_key)?;
    let accounts = api.get("/api/v1/admin/accounts?limit=100").await?;
    let mut keys = Map::new();
    for plan in PLANS {
        let name = format!("demo-{plan}");
        let account = match named(&accounts, &name) {
            Some(account) => account.clone(),
            None => api.post("/api/v1/admin/accounts", json!({"name": name, "plan": plan})).await?,
        };
        let account = id(&account)?;
        let held = api.get(&format!("/api/v1/keys?limit=100&account_id={account}")).await?;
        let made = match named(&held, "demo").filter(|key| key["status"] == "active") {
            Some(key) => api.post(&format!("/api/v1/keys/{}/rotate", id(key)?), json!({})).await?,
            None => api.post("/api/v1/keys", json!({"name": "demo", "environment": "test", "account_id": account})).await?,
        };
        keys.insert(plan.to_owned(), made["secret"].clone());
    }
    Ok(Value::Object(keys))
}

fn named<'a>(page: &'a Value, name: &str) -> Option<&'a Value> {
    page["items"].as_array()?.iter().find(|item| item["name"] == name)
}

fn id(object: &Value) -> Result<&str, Fatal> {
    object["id"].as_str().ok_or_else(|| Fatal::new("the control plane answered an object without an id"))
}
