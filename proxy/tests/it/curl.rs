//! curl, as a client that nobody here wrote.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

/// What curl got.
#[derive(Debug)]
pub(crate) struct Got {
    /// 0 where there was no answer.
    pub(crate) status: u16,
    /// `1.1`, `2`.
    pub(crate) version: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// What curl says of itself: 0 is success.
    pub(crate) exit: i32,
    /// Each line of what it did, for whoever reads a test's failure.
    #[expect(dead_code, reason = "read by people, through Debug")]
    said: Vec<String>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// Calls `url` with these arguments; every name in it leads to `to`.
pub(crate) fn curl(to: SocketAddr, url: &str, args: &[&str]) -> Got {
    let output = Command::new("curl")
        .args(["-sSv", "--http1.1", "--max-time", "20", "--noproxy", "*", "-D", "-", "-w", "\n%{http_code} %{http_version}"])
        .args(["--connect-to", &format!("::{}:{}", to.ip(), to.port())])
        .args(args)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (text, last) = text.rsplit_once('\n').unwrap_or(("", &text));
    let (status, version) = last.split_once(' ').unwrap_or_default();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    Got {
        status: status.parse().unwrap_or(0),
        version: version.to_owned(),
        headers: lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
        body: body.to_owned(),
        said: String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect(),
        exit: output.status.code().unwrap_or(-1),
    }
}
