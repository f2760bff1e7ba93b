//! `clearway certificates`: what the gateways show their clients, from a shell.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    Fatal,
    api::{Api, Target},
};

const CERTIFICATES: &str = "/api/v1/admin/certificates";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the certificates that the control plane gives its gateways.
    List(List),
    /// Create or replace a certificate. Ends with 3 where a gateway refuses it.
    Put(Put),
    /// Delete a certificate. Returns when no gateway shows it any more.
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Put {
    /// What it is called.
    name: String,
    /// PEM: the certificate, and the ones between it and its authority.
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    /// PEM: its private key, without a password.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// What it is called.
    name: String,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(command: Command) -> Result<(), Fatal> {
    match command {
        Command::List(args) => list(args).await,
        Command::Put(args) => put(args).await,
        Command::Delete(args) => delete(args).await,
    }
}

async fn list(args: List) -> Result<(), Fatal> {
    let api = Api::of(&args.target)?;
    let mut items = Vec::new();
    let mut page = api.get(&format!("{CERTIFICATES}?limit=100")).await?;
    loop {
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        let Some(next) = page["next_cursor"].as_str() else { break };
        page = api.get(&format!("{CERTIFICATES}?limit=100&cursor={next}")).await?;
    }
    if args.target.json {
        print(&format!("{:#}", Value::Array(items)));
    } else {
        items.iter().for_each(|item| print(&line(item)));
    }
    Ok(())
}

async fn put(args: Put) -> Result<(), Fatal> {
    let body = json!({ "chain": read(&args.chain)?, "key": read(&args.key)? });
    let answer = Api::of(&args.target)?.put(&path(&args.name)?, body).await?;
    print(&if args.target.json { format!("{answer:#}") } else { line(&answer) });
    match answer["propagation"]["refused"].as_u64() {
        Some(1..) => Err(Fatal::refused("it is stored, and not shown by every gateway: GET /api/v1/admin/proxies says why")),
        _ => Ok(()),
    }
}

async fn delete(args: Delete) -> Result<(), Fatal> {
    let answer = Api::of(&args.target)?.delete(&path(&args.name)?).await?;
    print(&if args.target.json { format!("{answer:#}") } else { format!("{} deleted", args.name) });
    Ok(())
}

/// A name goes into a path: nothing in it may end the segment.
fn path(name: &str) -> Result<String, Fatal> {
    let fits = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
        && !name.bytes().all(|b| b == b'.');
    if fits { Ok(format!("{CERTIFICATES}/{name}")) } else { Err(Fatal::new("a name is 1 to 64 of a-z, 0-9, `-`, `_` and `.`")) }
}

fn read(file: &Path) -> Result<String, Fatal> {
    std::fs::read_to_string(file).map_err(|e| Fatal::new(format!("{}: {e}", file.display())))
}

fn line(certificate: &Value) -> String {
    let word = |name: &str| certificate[name].as_str().unwrap_or_default();
    let hosts: Vec<_> = certificate["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    format!("{}  until {}  {}", word("name"), word("not_after"), hosts.join(" "))
}

#[expect(clippy::print_stdout, reason = "what a command answers goes to standard output")]
fn print(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_end_its_segment_is_refused() {
        assert_eq!(path("shop.example").ok().as_deref(), Some("/api/v1/admin/certificates/shop.example"));
        for name in ["", "..", "a/b", "a?b", "A"] {
            assert!(path(name).is_err(), "{name}");
        }
    }
}
