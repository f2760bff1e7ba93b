//! An ACME authority for tests: Pebble, the test server of Let's Encrypt, and a name server by whose word every
//! name is on this machine.
//!
//! Both are processes of their own, killed when the value is dropped. Pebble asks its own questions at the
//! port that it is told, so that port must be known before.

use std::{
    fs, io,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

/// A running authority.
#[derive(Debug)]
pub struct Authority {
    children: [Child; 2],
    /// Where a client begins.
    pub directory_url: String,
    /// Where the authority's root certificate is, as PEM.
    pub root_url: String,
}

impl Authority {
    /// Starts one that proves names at `http_port`. Its own TLS certificate, for 127.0.0.1, is in `cert_file` and
    /// `key_file`; what else it needs is put into `dir`. It may take a moment to accept connections. Panics
    /// with one line when Pebble cannot be had.
    pub fn start(dir: &Path, http_port: u16, cert_file: &Path, key_file: &Path) -> Self {
        Self::try_start(dir, http_port, cert_file, key_file).unwrap_or_else(|why| panic!("no ACME authority: {why}"))
    }

    fn try_start(dir: &Path, http_port: u16, cert_file: &Path, key_file: &Path) -> io::Result<Self> {
        install()?;
        let [acme, management, dns, dns_management] = [free_port()?, free_port()?, free_port()?, free_port()?];
        let config = format!(
            r#"{{"pebble": {{"listenAddress": "127.0.0.1:{acme}", "managementListenAddress": "127.0.0.1:{management}",
            "certificate": "{}", "privateKey": "{}", "httpPort": {http_port}, "tlsPort": 1,
            "ocspResponderURL": "", "externalAccountBindingRequired": false}}}}"#,
            cert_file.display(),
            key_file.display(),
        );
        let file = dir.join("pebble.json");
        fs::write(&file, config)?;
        let names = quiet("pebble-challtestsrv")
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-dns01", &format!("127.0.0.1:{dns}"), "-management", &format!("127.0.0.1:{dns_management}")])
            .spawn()?;
        let pebble = quiet("pebble")
            .args(["-dnsserver", &format!("127.0.0.1:{dns}"), "-config"])
            .arg(&file)
            // It would wait before it looks, as if it were busy.
            .env("PEBBLE_VA_NOSLEEP", "1")
            .spawn()?;
        Ok(Self {
            children: [names, pebble],
            directory_url: format!("https://127.0.0.1:{acme}/dir"),
            root_url: format!("https://127.0.0.1:{management}/roots/0"),
        })
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that has ended by itself is gone too.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that nobody has at this moment.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Installs Debian's package where there is no Pebble.
fn install() -> io::Result<()> {
    if quiet("pebble").arg("-help").status().is_ok() {
        return Ok(());
    }
    let how = "install Pebble (Debian: apt-get install pebble)";
    if !super::is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(io::Error::other(how));
    }
    eprintln!("testkit: no Pebble found: running apt-get install -y pebble");
    let mut apt = Command::new("/usr/bin/apt-get");
    apt.args(["install", "-y", "--no-install-recommends", "pebble"]).env("DEBIAN_FRONTEND", "noninteractive");
    super::succeed(apt.output(), "apt-get install -y pebble").map_err(|why| io::Error::other(format!("{why}; {how}")))
}
