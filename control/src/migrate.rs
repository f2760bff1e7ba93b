//! `clearway migrate`: from SQLite to PostgreSQL, with a look at who else is there, and with words for a person.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    app::StartError,
    data_dir::DataDir,
    db::{
        Location,
        copy::{self, CopyError, Progress},
    },
};

/// How often a table that takes long says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Copies everything from one URL to the other; the last words. `say` is given a line about each table when it is
/// begun, and some more of one that takes long.
pub async fn run(from: &str, to: &str, mut say: impl FnMut(String)) -> Result<String, StartError> {
    if from.is_empty() || to.is_empty() {
        return Err(CopyError::Direction.into());
    }
    let (from, to) = (Location::parse(from, Path::new(""))?, Location::parse(to, Path::new(""))?);
    let _nobody_writes = match &from {
        Location::Sqlite(file) => hold(file)?,
        Location::Postgres(_) => None,
    };
    let mut said = Instant::now();
    let copied = copy::copy(&from, &to, |Progress { table, rows, of }| {
        if rows == 0 || said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            say(format!("copying {table}: {rows} of {of}"));
        }
    })
    .await?;
    let rows: u64 = copied.tables.iter().map(|(_, rows)| rows).sum();
    let tables = copied.tables.len();
    Ok(format!(
        "{rows} rows of {tables} tables are copied; counts and sums are the same on both sides.\n\
         Name the new database in CLEARWAY_DATABASE_URL or control.database_url, keep the master key, and start control.\n\
         The old database is as it was: do not start control on it again.\n"
    ))
}

/// The lock of the data directory that the file is in, if it is in one: then no control plane is writing to it.
fn hold(file: &Path) -> Result<Option<DataDir>, StartError> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if dir.join("lock").exists() { Ok(Some(DataDir::open(dir)?)) } else { Ok(None) }
}
