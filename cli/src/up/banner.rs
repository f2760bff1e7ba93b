//! What `clearway up` prints once it is ready.

use serde_json::Value;

/// One line of JSON, or the text for a person with what to try next.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub(super) fn print(ready: &Value, as_json: bool) {
    if as_json { println!("{ready}") } else { print!("{}", text(ready)) }
}

fn text(ready: &Value) -> String {
    let word = |name: &str| ready[name].as_str().unwrap_or("-").to_owned();
    let gateway = word("gateway").replace("0.0.0.0", "localhost");
    let mut lines = vec![
        String::new(),
        "Clearway is up.".to_owned(),
        format!("  gateway     {gateway}"),
        format!("  encrypted   {}", word("gateway_tls").replace("0.0.0.0", "localhost")),
        format!("  egress      {}", word("egress")),
        format!("  status      {}/status, metrics at /metrics", word("metrics")),
        format!("  admin       {}", word("admin_email")),
    ];
    if let Some(password) = ready["admin_password"].as_str() {
        lines.push(format!("  password    {password}    (shown once)"));
    }
    if let Some(key) = ready["admin_key"].as_str() {
        lines.push(format!("  admin key   {key}    (shown once)"));
    }
    for (plan, key) in ready["demo_keys"].as_object().into_iter().flatten() {
        lines.push(format!("  {plan:<10}  {}", key.as_str().unwrap_or("-")));
    }
    lines.push(String::new());
    if let Some(starter) = ready["demo_keys"]["starter"].as_str() {
        lines.extend(["Try:".to_owned(), format!("  curl -i {gateway}/demo/hello -H 'Authorization: Bearer {starter}'")]);
    }
    if let Some(admin) = ready["admin_key"].as_str() {
        lines.extend([
            format!(
                "  curl -X POST {gateway}/api/v1/keys -H 'Authorization: Bearer {admin}' \\\n       \
                 -d '{{\"name\":\"ci\",\"scopes\":[\"read:apps\"]}}'"
            ),
            format!("  CLEARWAY_API_KEY={admin} {} keys list --url {gateway}", own_name()),
        ]);
    }
    lines.extend(["Your own service: add it to config/gateway.toml. Ctrl-C stops.".to_owned(), String::new()]);
    lines.join("\n")
}

/// How this program was called, so that the line can be pasted.
fn own_name() -> String {
    std::env::args().next().unwrap_or_else(|| "clearway".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_later_start_shows_no_secret_and_still_says_where_everything_is() {
        let shown =
            text(&json!({"gateway": "http://0.0.0.0:8080", "metrics": "http://127.0.0.1:9090", "admin_email": "admin@localhost",
            "admin_password": null, "admin_key": null, "demo_keys": null}));
        assert!(shown.contains("gateway     http://localhost:8080"));
        assert!(shown.contains("http://127.0.0.1:9090/status"));
        assert!(!shown.contains("shown once"));
        assert!(!shown.contains("curl"));
    }
}
