//! `clearway keys`: the key endpoints from a shell.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::{
    Fatal,
    api::{Api, Target},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a key and print its secret, once.
    Create(Create),
    /// List the account's keys.
    List(List),
    /// Make a new secret; the old one keeps working for the overlap.
    Rotate(Rotate),
    /// Revoke a key. Returns when every gateway has acknowledged it.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What the key is for.
    #[arg(long)]
    name: String,
    #[arg(long, value_enum, default_value = "live")]
    environment: Environment,
    /// A scope such as read:apps; repeat for several.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// When the key ends, RFC 3339: 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// An address or CIDR the key may be used from; repeat for several.
    #[arg(long = "allow", value_name = "CIDR")]
    allowed_addresses: Vec<String>,
    /// Requests made with the key must be signed (RFC 9421); prints its signing secret too.
    #[arg(long)]
    require_signature: bool,
    /// The account that gets the key (admins only); the caller's without it.
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Another account's keys (admins only).
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// Keys on a page, 1 to 100.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    limit: u8,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The key's id, key_…
    id: String,
    /// Seconds for which the old secret keeps working; 24 hours without it.
    #[arg(long, value_name = "SECONDS")]
    overlap: Option<u32>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The key's id, key_…
    id: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Environment {
    Live,
    Test,
}

impl Environment {
    fn as_str(self) -> &'static str {
        match self {
            Environment::Live => "live",
            Environment::Test => "test",
        }
    }
}

pub(crate) async fn run(command: Command) -> Result<(), Fatal> {
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Rotate(args) => rotate(args).await,
        Command::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: Create) -> Result<(), Fatal> {
    let mut body = json!({"name": args.name, "environment": args.environment.as_str(), "scopes": args.scopes});
    if let Some(time) = args.expires_at {
        body["expires_at"] = time.into();
    }
    if !args.allowed_addresses.is_empty() {
        body["allowed_addresses"] = args.allowed_addresses.into();
    }
    if args.require_signature {
        body["require_signature"] = true.into();
    }
    if let Some(account) = args.account {
        body["account_id"] = account.into();
    }
    let made = Api::of(&args.target)?.post("/api/v1/keys", body).await?;
    show(args.target.json, &made, || with_secret(&made));
    Ok(())
}

async fn list(args: List) -> Result<(), Fatal> {
    let account = args.account.map(|id| format!("&account_id={id}")).unwrap_or_default();
    let page = Api::of(&args.target)?.get(&format!("/api/v1/keys?limit={}{account}", args.limit)).await?;
    show(args.target.json, &page, || table(&page));
    Ok(())
}

async fn rotate(args: Rotate) -> Result<(), Fatal> {
    let body = args.overlap.map_or_else(|| json!({}), |seconds| json!({"overlap": seconds}));
    let made = Api::of(&args.target)?.post(&format!("/api/v1/keys/{}/rotate", segment(&args.id)?), body).await?;
    show(args.target.json, &made, || with_secret(&made));
    Ok(())
}

async fn revoke(args: Revoke) -> Result<(), Fatal> {
    let gone = Api::of(&args.target)?.delete(&format!("/api/v1/keys/{}", segment(&args.id)?)).await?;
    show(args.target.json, &gone, || revoked(&args.id, &gone["propagation"]));
    Ok(())
}

/// An id goes into a path: nothing in it may end the segment.
fn segment(id: &str) -> Result<&str, Fatal> {
    let fits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits { Ok(id) } else { Err(Fatal::new(format!("`{id}` is not a key's id: key_ and 22 letters or digits"))) }
}

#[expect(clippy::print_stdout, reason = "what a command answers goes to standard output")]
fn show(as_json: bool, answer: &Value, text: impl FnOnce() -> String) {
    if as_json { println!("{answer:#}") } else { println!("{}", text()) }
}

fn with_secret(made: &Value) -> String {
    let (id, secret) = (word(&made["id"]), word(&made["secret"]));
    match made["signing_secret"].as_str() {
        None => format!("{id}\n{secret}\nThis secret is shown once: store it now."),
        Some(signing) => format!("{id}\n{secret}\nsigning secret {signing}\nThese secrets are shown once: store them now."),
    }
}

fn revoked(id: &str, propagation: &Value) -> String {
    let count = |name: &str| propagation[name].as_u64().unwrap_or(0);
    let open = count("proxies").saturating_sub(count("acknowledged") + count("fenced"));
    let mut line = format!(
        "{id} revoked: {} of {} gateways acknowledged, {} fenced, {} ms",
        count("acknowledged"),
        count("proxies"),
        count("fenced"),
        count("ms")
    );
    if open > 0 {
        line.push_str(&format!("; {open} cannot be reached and may accept it until they can"));
    }
    line
}

fn table(page: &Value) -> String {
    let head = ["ID", "NAME", "ENVIRONMENT", "STATUS", "LAST USED"].map(str::to_owned);
    let rows = page["items"].as_array().into_iter().flatten().map(|key| {
        [&key["id"], &key["name"], &key["environment"], &key["status"], &key["last_used"]["at"]]
            .map(|value| word(value).to_owned())
    });
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let widths: [usize; 5] = std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; 5]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_table_with_a_dash_where_nothing_is_known() {
        let page = json!({"items": [
            {"id": "key_1", "name": "ci", "environment": "live", "status": "active", "last_used": null},
        ]});
        assert_eq!(table(&page), "ID     NAME  ENVIRONMENT  STATUS  LAST USED\nkey_1  ci    live         active  -");
    }

    #[test]
    fn a_revoke_says_when_a_gateway_may_still_accept_the_key() {
        let line = revoked("key_1", &json!({"proxies": 3, "acknowledged": 1, "refused": 0, "fenced": 1, "ms": 4}));
        assert_eq!(
            line,
            "key_1 revoked: 1 of 3 gateways acknowledged, 1 fenced, 4 ms; 1 cannot be reached and may accept it until they can"
        );
    }

    #[test]
    fn a_signing_secret_is_shown_beside_the_secret() {
        let made = json!({"id": "key_1", "secret": "clw_test_x", "signing_secret": "AAAA"});
        assert_eq!(with_secret(&made), "key_1\nclw_test_x\nsigning secret AAAA\nThese secrets are shown once: store them now.");
    }

    #[test]
    fn an_id_cannot_lead_to_another_path() {
        for bad in ["", "key_1/../../admin", "key_1?x", "key 1"] {
            assert!(segment(bad).is_err(), "{bad}");
        }
        assert!(segment("key_0abcXYZ").is_ok());
    }
}
