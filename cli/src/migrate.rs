//! `clearway migrate`: the planes' own commands, found beside this program.

use std::{io, os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use crate::{Fatal, up};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").args(["from", "ledger"]).multiple(true).required(true))]
pub(crate) struct Args {
    /// Where everything is: sqlite://FILE, `control/control.db` in the data directory. Nothing may be running on it.
    #[arg(long, value_name = "URL", requires = "to")]
    from: Option<String>,
    /// Where it is to go: postgres://…, an empty database. A password can also come from PGPASSWORD or PGPASSFILE.
    #[arg(long, value_name = "URL", env = "CLEARWAY_DATABASE_URL", hide_env_values = true)]
    to: Option<String>,
    /// The data directory of a gateway that counted alone, has stopped, and is not to be part of the fleet: what it has
    /// counted this day and month goes to the fleet's Redis. Before a gateway of the fleet has started.
    #[arg(long, value_name = "DIR", requires = "config")]
    ledger: Option<PathBuf>,
    /// Settings of the fleet, whose `[redis]` says where it is.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Does what is asked for, the database first. Becomes the last of the programs that do it, and returns only where
/// something fails.
pub(crate) fn run(Args { from, to, ledger, config }: &Args) -> Result<(), Fatal> {
    let mut steps = Vec::new();
    if let Some((from, to)) = from.as_ref().zip(to.as_ref()) {
        let mut copy = Command::new(up::beside("clearway-control")?);
        // Not as an argument: other users of the machine see those, and a URL may hold a password.
        copy.args(["migrate", "--from", from]).env("CLEARWAY_DATABASE_URL", to);
        steps.push(copy);
    }
    if let Some((ledger, config)) = ledger.as_ref().zip(config.as_ref()) {
        let mut tell = Command::new(up::beside("clearway-proxy")?);
        tell.arg("--tell-redis").arg("--config").arg(config).arg("--data-dir").arg(ledger);
        steps.push(tell);
    }
    let Some(mut last) = steps.pop() else { return Ok(()) };
    for mut step in steps {
        let status = step.status().map_err(|why| not_run(&step, &why))?;
        if !status.success() {
            // It has said why.
            return Err(Fatal::failed());
        }
    }
    let why = last.exec();
    Err(not_run(&last, &why))
}

fn not_run(program: &Command, why: &io::Error) -> Fatal {
    Fatal::new(format!("{}: {why}", program.get_program().display()))
}
