//! Servers in other languages: scripts of this crate's folders, each a child process that ends when its standard input does.

use std::{
    io::{BufRead, BufReader, ErrorKind},
    path::Path,
    process::{Child, Command, Stdio},
};

/// What runs a script.
#[derive(Debug)]
pub(crate) struct Interpreter {
    program: &'static str,
    /// Debian's package.
    package: &'static str,
    /// Where it looks for packages, beside the scripts: where `make prerequisites` puts them.
    packages: (&'static str, &'static str),
}

pub(crate) const NODE: Interpreter =
    Interpreter { program: "node", package: "nodejs", packages: ("NODE_PATH", "../target/receivers/node_modules") };
pub(crate) const PYTHON: Interpreter =
    Interpreter { program: "python3", package: "python3", packages: ("PYTHONPATH", "../target/receivers/python") };

impl Interpreter {
    /// A script of this crate's folders.
    pub(crate) fn command(&self, file: &str) -> Command {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (variable, packages) = self.packages;
        let mut command = Command::new(self.program);
        command.arg(here.join(file)).env(variable, here.join(packages));
        command
    }
}

#[derive(Debug)]
pub(crate) struct Script(Child);

impl Script {
    /// Starts a script that says its port; the URL at which it is.
    pub(crate) fn start(interpreter: &Interpreter, file: &str, arguments: &[&str]) -> (Self, String) {
        let Interpreter { program, package, .. } = interpreter;
        let started = interpreter.command(file).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                panic!("{program} is missing: make prerequisites, or apt-get install {package}")
            }
            Err(e) => panic!("{program} does not start: {e}"),
        };
        let output = child.stdout.take().expect("standard output is a pipe");
        let script = Self(child);
        let mut port = String::new();
        BufReader::new(output).read_line(&mut port).expect("a readable pipe");
        let port: u16 = port.trim().parse().unwrap_or_else(|_| panic!("{file} says no port; see above, and make prerequisites"));
        (script, format!("http://127.0.0.1:{port}"))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
