//! `clearway apply` and `clearway export`: the gateway's document between a file and the control plane.

mod diff;

use std::{
    io::{BufRead, IsTerminal, Write},
    path::PathBuf,
};

use clap::Args;
use clearway_config::settings::{Document, Gateway, Source, UpstreamAddress};
use serde_json::{Value, json};

use crate::{
    Fatal,
    api::{Api, Target},
};

const DOCUMENT: &str = "/api/v1/admin/gateway";

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The document, in the words of gateway.toml; - is standard input.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Show what would change, and change nothing. Ends with 2 where something would.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before changing.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Where to write it; standard output without it.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// Makes the control plane's document that of a file, after showing the difference.
pub(crate) async fn apply(args: Apply) -> Result<(), Fatal> {
    let wanted = read(&args.file)?;
    let api = Api::of(&args.target)?;
    let stored = stored(&api).await?;
    let changes = diff::between(stored.into_objects(), wanted.clone().into_objects());
    if args.dry_run {
        let path = format!("{DOCUMENT}?dry_run=true");
        // Asked all the same: the control plane may know a reason against it that this version does not.
        let answer = api.put(&path, json!(wanted)).await?;
        show(args.target.json, &answer, &changes);
        return if changes.is_empty() { Ok(()) } else { Err(Fatal::differs()) };
    }
    if changes.is_empty() {
        show(args.target.json, &json!({ "changes": [] }), &changes);
        return Ok(());
    }
    if !args.yes {
        if !std::io::stdin().is_terminal() || args.file.as_os_str() == "-" {
            return Err(Fatal::new("there is nobody to ask: look at it with --dry-run, then say --yes"));
        }
        show(false, &Value::Null, &changes);
        if !confirmed(changes.len())? {
            return Err(Fatal::new("nothing was changed"));
        }
    }
    let answer = api.put(DOCUMENT, json!(wanted)).await?;
    if args.target.json || args.yes {
        show(args.target.json, &answer, &changes);
    }
    let propagation = &answer["propagation"];
    let count = |what: &str| propagation[what].as_u64().unwrap_or_default();
    let refused = count("refused");
    eprintln!("applied: {} of {} gateways acknowledged, {refused} refused", count("acknowledged"), count("proxies"));
    if refused == 0 {
        return Ok(());
    }
    for line in refusals(&api.get("/api/v1/admin/proxies?limit=100").await?) {
        eprintln!("{line}");
    }
    Err(Fatal::refused("it is stored, and not in force on every gateway"))
}

/// What each gateway refuses and why, a line each.
fn refusals(proxies: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for proxy in proxies["items"].as_array().into_iter().flatten() {
        let name = proxy["name"].as_str().unwrap_or_default();
        for refused in proxy["refused"].as_array().into_iter().flatten() {
            let object = refused["object"].as_str().unwrap_or("the change as a whole");
            lines.push(format!("{name} refuses {object}: {}", refused["reason"].as_str().unwrap_or_default()));
        }
    }
    lines
}

/// Writes the control plane's document as a file that `apply` takes.
pub(crate) async fn export(args: Export) -> Result<(), Fatal> {
    let document = stored(&Api::of(&args.target)?).await?;
    let text = if args.target.json {
        serde_json::to_string_pretty(&document).map_err(|e| Fatal::new(format!("the document cannot be written: {e}")))?
    } else {
        toml::to_string_pretty(&document).map_err(|e| Fatal::new(format!("the document cannot be written: {e}")))?
    };
    match args.output {
        Some(file) => std::fs::write(&file, text).map_err(|e| Fatal::new(format!("{}: {e}", file.display()))),
        None => {
            print(&text);
            Ok(())
        }
    }
}

async fn stored(api: &Api) -> Result<Document, Fatal> {
    let answer = api.get(DOCUMENT).await?;
    serde_json::from_value(answer).map_err(|e| Fatal::new(format!("the control plane speaks another version: {e}")))
}

/// Reads a document and checks it, so that a mistake is named by its line before anything is sent.
fn read(file: &std::path::Path) -> Result<Document, Fatal> {
    let source = if file.as_os_str() == "-" {
        let text = std::io::read_to_string(std::io::stdin().lock()).map_err(|e| Fatal::new(format!("standard input: {e}")))?;
        Source::new("standard input", text)
    } else {
        Source::read(file).map_err(|e| Fatal::new(e.to_string()))?
    };
    // Where the control API is does not matter to whether a document is right.
    let control = UpstreamAddress { tls: false, host: "control.invalid".into(), port: 9000 };
    let sources = [source];
    Gateway::resolve(&sources, &control).map_err(|e| Fatal::new(e.to_string()))?;
    sources[0].document().map_err(|e| Fatal::new(e.to_string()))
}

fn show(as_json: bool, answer: &Value, changes: &[diff::Change]) {
    if as_json {
        print(&format!("{answer:#}\n"));
    } else if changes.is_empty() {
        print("nothing differs\n");
    } else {
        print(&diff::text(changes));
    }
}

fn confirmed(changes: usize) -> Result<bool, Fatal> {
    let unreadable = |e: std::io::Error| Fatal::new(format!("the terminal cannot be read: {e}"));
    let mut terminal = std::io::stderr();
    write!(terminal, "Make {changes} changes? [y/N] ").and_then(|()| terminal.flush()).map_err(unreadable)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(unreadable)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[expect(clippy::print_stdout, reason = "what a command answers goes to standard output")]
fn print(text: &str) {
    print!("{text}");
}
