//! `clearway webhooks`: for whoever writes a receiver.

mod listen;
mod trigger;
mod verify;

use clap::Subcommand;

use crate::Fatal;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Receive an account's events here and post them, signed, to a receiver on this machine.
    Listen(listen::Listen),
    /// Have a webhook receive an event as it would look like, made up for a test.
    Trigger(trigger::Trigger),
    /// Say what is wrong with a message that a receiver does not take.
    Verify(verify::Verify),
}

pub(crate) async fn run(command: Command) -> Result<(), Fatal> {
    match command {
        Command::Listen(args) => listen::run(args).await,
        Command::Trigger(args) => trigger::run(args).await,
        Command::Verify(args) => verify::run(&args),
    }
}

/// An id goes into a path: nothing in it may end the segment.
fn segment(id: &str) -> Result<&str, Fatal> {
    let fits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits { Ok(id) } else { Err(Fatal::new(format!("`{id}` is not a webhook's id: wh_ and 22 letters or digits"))) }
}
