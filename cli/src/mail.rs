//! `clearway mail`: what would have been mailed, where no mail server is set.

use clap::{Args, Subcommand};

use crate::{
    Fatal,
    api::{Api, Target},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the mails in the local mailbox, newest first.
    List(List),
    /// Print a mail.
    Read(Read),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Mails on a page, 1 to 100.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=100))]
    limit: u8,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Read {
    /// The mail's id, mail_…
    id: String,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(command: Command) -> Result<(), Fatal> {
    match command {
        Command::List(args) => list(args).await,
        Command::Read(args) => read(args).await,
    }
}

#[expect(clippy::print_stdout, reason = "what a command answers goes to standard output")]
async fn list(args: List) -> Result<(), Fatal> {
    let page = Api::of(&args.target)?.get(&format!("/api/v1/admin/mails?limit={}", args.limit)).await?;
    if args.target.json {
        println!("{page:#}");
        return Ok(());
    }
    for mail in page["items"].as_array().into_iter().flatten() {
        let word = |name: &str| shown(mail[name].as_str().unwrap_or("-"));
        println!("{}  {}  {}  {}", word("id"), word("created_at"), word("to"), word("subject"));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what a command answers goes to standard output")]
async fn read(args: Read) -> Result<(), Fatal> {
    if !args.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(Fatal::new(format!("{:?} is not a mail's id", args.id)));
    }
    let mail = Api::of(&args.target)?.get(&format!("/api/v1/admin/mails/{}", args.id)).await?;
    if args.target.json {
        println!("{mail:#}");
        return Ok(());
    }
    let word = |name: &str| shown(mail[name].as_str().unwrap_or("-"));
    println!("To: {}\nDate: {}\nSubject: {}\n\n{}", word("to"), word("created_at"), word("subject"), word("body"));
    Ok(())
}

/// Names in mails are people's own: nothing of them may move a terminal's cursor.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
