//! A time of day that a test sets, for processes that it starts: a small library that is loaded before theirs. It needs
//! a C compiler, as building anything here does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const SOURCE: &str = include_str!("clock.c");

/// Of any number of processes. Its files are in a directory of the caller's, and are read while it is used.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
    library: PathBuf,
}

impl Clock {
    /// One that goes with the machine's until it is set. Panics with one line when it cannot be had.
    pub fn in_dir(dir: &Path) -> Self {
        let (file, library, source) = (dir.join("clock"), dir.join("clock.so"), dir.join("clock.c"));
        fs::write(&source, SOURCE).expect("a writable directory");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
        super::succeed(compiler.output(), "cc").unwrap_or_else(|why| panic!("no clock to set for the tests: {why}"));
        let clock = Self { file, library };
        clock.set(0);
        clock
    }

    /// What a process that goes by it is to find in its environment.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![("LD_PRELOAD", text(&self.library)), ("CLEARWAY_TEST_CLOCK", text(&self.file))]
    }

    /// So many seconds ahead of the machine's, or behind it; of processes that run already, too.
    pub fn set(&self, ahead_seconds: i64) {
        let new = self.file.with_extension("new");
        // In one step: a process may be reading it.
        let set = fs::write(&new, format!("{ahead_seconds}\n")).and_then(|()| fs::rename(&new, &self.file));
        set.expect("a writable directory");
    }
}
