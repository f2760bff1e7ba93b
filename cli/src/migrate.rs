//! `clearway migrate`: the control plane's own command, found beside this program.

use std::{os::unix::process::CommandExt as _, process::Command};

use crate::{Fatal, up};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where everything is: sqlite://FILE, `control/control.db` in the data directory. Nothing may be running on it.
    #[arg(long, value_name = "URL")]
    from: String,
    /// Where it is to go: postgres://…, an empty database. A password can also come from PGPASSWORD or PGPASSFILE.
    #[arg(long, value_name = "URL", env = "CLEARWAY_DATABASE_URL", hide_env_values = true)]
    to: String,
}

/// Becomes `clearway-control migrate`; returns only where that cannot be.
pub(crate) fn run(Args { from, to }: &Args) -> Result<(), Fatal> {
    let binary = up::beside("clearway-control")?;
    // Not as an argument: other users of the machine see those, and a URL may hold a password.
    let why = Command::new(&binary).args(["migrate", "--from", from]).env("CLEARWAY_DATABASE_URL", to).exec();
    Err(Fatal::new(format!("{}: {why}", binary.display())))
}
