//! The `clearway` command: runs both planes on one machine, and speaks to the control API.
//!
//! It holds no product logic: `up` starts the two binaries beside it, `top` reads a proxy's status, everything
//! else is a REST call.

mod api;
mod keys;
mod top;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// An API gateway and marketplace: keys, plans and quotas in front of your own HTTP services.
#[derive(Debug, Parser)]
#[command(name = "clearway", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gateway and its control plane on this machine.
    Up(up::Args),
    /// Create, list, rotate and revoke API keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Watch what a proxy is doing: requests, refusals, latencies, and who asks most.
    Top(top::Args),
    /// Print a completion script for a shell, for example: clearway completions bash > /etc/bash_completion.d/clearway
    Completions { shell: clap_complete::Shell },
}

/// What ends a command: one line for standard error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Fatal(String);

impl Fatal {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Up(args) => up::run(args).await,
        Command::Keys(command) => keys::run(command).await,
        Command::Top(args) => top::run(args).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "clearway", &mut std::io::stdout());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("clearway: {why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
