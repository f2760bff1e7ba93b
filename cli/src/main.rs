//! The `clearway` command: runs both planes on one machine, and speaks to the control API.
//!
//! It holds no product logic: `up` starts the two binaries beside it, `top` reads a proxy's status, everything
//! else is a REST call.

mod api;
mod audit;
mod certificates;
mod gateway;
mod keys;
mod mail;
mod migrate;
mod proxies;
mod ready;
mod top;
mod up;
mod webhooks;

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
    /// Ask a gateway or control plane whether it is ready: ends with 0 where it is, with 1 where it is not.
    Ready(ready::Args),
    /// Move up to a fleet: copy everything from SQLite into an empty PostgreSQL database in one step, and what a gateway
    /// has counted of quotas into Redis.
    Migrate(migrate::Args),
    /// Create, list, rotate and revoke API keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Read what would have been mailed, where no mail server is set.
    #[command(subcommand)]
    Mail(mail::Command),
    /// List, put and delete the certificates that the gateways show their clients.
    #[command(subcommand)]
    Certificates(certificates::Command),
    /// Verify that nothing in the audit log was changed.
    #[command(subcommand)]
    Audit(audit::Command),
    /// For whoever writes a receiver of webhooks: listen, trigger, verify.
    #[command(subcommand)]
    Webhooks(webhooks::Command),
    /// List the gateways: where each is attached, how far behind it is, its leases and its load.
    Proxies(proxies::Proxies),
    /// Watch what a proxy is doing: requests, refusals, latencies, and who asks most.
    Top(top::Args),
    /// Make the control plane's routes and upstreams those of a file, after showing the difference. Ends with 3 where a
    /// gateway refuses some of it.
    Apply(gateway::Apply),
    /// Write the control plane's routes and upstreams as a file that apply takes.
    Export(gateway::Export),
    /// Print a completion script for a shell, for example: clearway completions bash > /etc/bash_completion.d/clearway
    Completions { shell: clap_complete::Shell },
}

/// What ends a command: one line for standard error.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Fatal {
    message: String,
    /// What the process ends with.
    status: u8,
}

impl Fatal {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }

    /// Stored, but not in force everywhere.
    fn refused(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 3 }
    }

    /// A program that was started has said why.
    fn failed() -> Self {
        Self { message: String::new(), status: 1 }
    }

    /// What was verified is not what it was.
    fn unlike(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 2 }
    }

    /// Not a failure: what was compared is not the same.
    fn differs() -> Self {
        Self { message: String::new(), status: 2 }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Up(args) => up::run(args).await,
        Command::Ready(args) => ready::run(&args).await,
        Command::Migrate(args) => migrate::run(&args),
        Command::Keys(command) => keys::run(command).await,
        Command::Mail(command) => mail::run(command).await,
        Command::Certificates(command) => certificates::run(command).await,
        Command::Audit(command) => audit::run(command).await,
        Command::Webhooks(command) => webhooks::run(command).await,
        Command::Proxies(args) => proxies::run(args).await,
        Command::Top(args) => top::run(args).await,
        Command::Apply(args) => gateway::apply(args).await,
        Command::Export(args) => gateway::export(args).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "clearway", &mut std::io::stdout());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            if !why.message.is_empty() {
                eprintln!("clearway: {why}");
            }
            ExitCode::from(why.status)
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
