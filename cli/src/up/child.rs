//! One plane as a child process: started, waited for, started again when it dies, followed by a new one of its kind
//! when that is asked for, stopped.

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};

use super::Stop;
use crate::Fatal;

/// A start that takes longer than this says so, and again each time as much has passed.
const PROGRESS_AFTER: Duration = Duration::from_secs(2);
/// A million keys load in seconds; a start that takes this long has failed.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// A plane that is still there this long after SIGTERM is killed; its own drain is shorter.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
const RESTART_DELAY_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plane {
    Control,
    Proxy,
}

impl Plane {
    fn binary(self) -> &'static str {
        match self {
            Plane::Control => "clearway-control",
            Plane::Proxy => "clearway-proxy",
        }
    }

    /// Whether a new process can take over from a running one without a request failing.
    fn can_be_followed(self) -> bool {
        self == Self::Proxy
    }

    fn title(self) -> &'static str {
        match self {
            Plane::Control => "the control plane",
            Plane::Proxy => "the gateway",
        }
    }
}

/// What a plane is started with that is to follow a running one.
const FOLLOW: &str = "--upgrade";

/// A plane that runs until it is stopped.
#[derive(Debug)]
pub(super) struct Supervised {
    /// What the plane printed when it was ready.
    pub(super) ready: Value,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Supervised {
    /// Starts the plane and waits until it is ready. `first_only` is an argument that later starts go without.
    pub(super) async fn start(plane: Plane, args: Vec<String>, first_only: Option<&str>, stop: &mut Stop) -> Result<Self, Fatal> {
        let first = args.iter().cloned().chain(first_only.map(str::to_owned)).collect();
        let (child, ready) = tokio::select! {
            started = launch(plane, first) => started?,
            () = stop.wait() => return Err(Fatal::new(format!("stopped while {} was starting", plane.title()))),
        };
        let again = pinned(args, &ready);
        let (stop, stopped) = oneshot::channel();
        let upgrade = signal(SignalKind::user_defined2()).map_err(|e| Fatal::new(format!("cannot listen for signals: {e}")))?;
        let task = tokio::spawn(supervise(plane, again, child, stopped, upgrade));
        Ok(Self { ready, stop, task })
    }

    /// SIGTERM, and the time to drain.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// The arguments of a later start: addresses whose port was picked are asked for again.
fn pinned(mut args: Vec<String>, ready: &Value) -> Vec<String> {
    let bound = [
        ("--gateway-addr", "gateway"),
        ("--gateway-tls-addr", "gateway_tls"),
        ("--control-addr", "control"),
        ("--sync-addr", "sync"),
        ("--egress-addr", "egress"),
        ("--metrics-addr", "metrics"),
    ];
    for (flag, name) in bound {
        if let (Some(at), Some(url)) = (args.iter().position(|a| a == flag), ready[name].as_str())
            && let Some((_, authority)) = url.split_once("://")
        {
            authority.clone_into(&mut args[at + 1]);
        }
    }
    args
}

async fn supervise(plane: Plane, args: Vec<String>, mut child: Child, mut stopped: oneshot::Receiver<()>, mut upgrade: Signal) {
    let mut delay = Duration::from_secs(1);
    // Processes that others have followed, and that end what they had begun.
    let mut followed = JoinSet::new();
    loop {
        // Waiting would close it, and its end is what tells the plane to stop.
        let lifeline = child.stdin.take();
        let died = tokio::select! {
            status = child.wait() => status.map_or_else(|e| e.to_string(), |s| s.to_string()),
            _ = &mut stopped => {
                drop(lifeline);
                terminate(plane, child).await;
                return while followed.join_next().await.is_some() {};
            }
            _ = upgrade.recv(), if plane.can_be_followed() => {
                let arguments = args.iter().cloned().chain([FOLLOW.to_owned()]).collect();
                match launch(plane, arguments).await {
                    Ok((next, _)) => {
                        let before = std::mem::replace(&mut child, next);
                        followed.spawn(async move {
                            let _held = lifeline;
                            terminate(plane, before).await;
                        });
                        eprintln!("clearway: {} is a new process", plane.title());
                    }
                    Err(why) => {
                        child.stdin = lifeline;
                        eprintln!("clearway: {why}");
                    }
                }
                continue;
            }
        };
        eprintln!("clearway: {} ended ({died}); starting it again", plane.title());
        loop {
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                _ = &mut stopped => return,
            }
            let relaunched = tokio::select! {
                relaunched = launch(plane, args.clone()) => relaunched,
                _ = &mut stopped => return,
            };
            match relaunched {
                Ok((again, _)) => {
                    child = again;
                    delay = Duration::from_secs(1);
                    break;
                }
                Err(why) => eprintln!("clearway: {why}"),
            }
            delay = (delay * 2).min(RESTART_DELAY_MAX);
        }
    }
}

/// Starts the binary that lies beside this one and reads its ready line.
async fn launch(plane: Plane, args: Vec<String>) -> Result<(Child, Value), Fatal> {
    let binary = beside(plane.binary())?;
    let mut child = Command::new(&binary)
        .args(args)
        // A person wants to see what is wrong; whoever wants more says so.
        .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned()))
        // A terminal's Ctrl-C reaches this process alone, which stops the planes in their order.
        .process_group(0)
        // The plane ends when this end of the pipe closes, however this process ends.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Fatal::new(format!("{}: {e}", binary.display())))?;
    let output = child.stdout.take().ok_or_else(|| Fatal::new("a child without standard output"))?;
    let mut line = String::new();
    let mut output = BufReader::new(output);
    let began = Instant::now();
    let read = loop {
        match timeout(PROGRESS_AFTER, output.read_line(&mut line)).await {
            Ok(read) => break read,
            Err(_) if began.elapsed() > READY_WITHIN => {
                return Err(Fatal::new(format!("{} was not ready after {} s", plane.title(), READY_WITHIN.as_secs())));
            }
            Err(_) => eprintln!("clearway: still starting {} ({} s)", plane.title(), began.elapsed().as_secs()),
        }
    };
    match (read, serde_json::from_str(&line)) {
        (Ok(bytes), Ok(ready)) if bytes > 0 => Ok((child, ready)),
        _ => {
            let status = child.wait().await.map_or_else(|e| e.to_string(), |s| s.to_string());
            Err(Fatal::new(format!("{} did not start ({status}); its last line above says why", plane.title())))
        }
    }
}

/// A program of Clearway's, in the folder of this one.
pub(crate) fn beside(binary: &str) -> Result<PathBuf, Fatal> {
    let own = std::env::current_exe().map_err(|e| Fatal::new(format!("cannot find this program's own file: {e}")))?;
    let file = own.with_file_name(binary);
    if file.exists() {
        Ok(file)
    } else {
        Err(Fatal::new(format!("{} is missing: it belongs beside {}", file.display(), own.display())))
    }
}

/// Waits for a plane whose standard input has been closed, or that another has followed: it drains and ends.
async fn terminate(plane: Plane, mut child: Child) {
    if timeout(STOPPED_WITHIN, child.wait()).await.is_err() {
        eprintln!("clearway: {} did not stop within {} s; killing it", plane.title(), STOPPED_WITHIN.as_secs());
        let _ = child.kill().await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plane_that_died_comes_back_on_the_ports_it_had() {
        let args = ["--json", "--gateway-addr", "127.0.0.1:0", "--metrics-addr", "[::1]:0"].map(str::to_owned).to_vec();
        let ready = json!({"gateway": "http://127.0.0.1:4711", "metrics": "http://[::1]:4712"});
        assert_eq!(pinned(args, &ready), ["--json", "--gateway-addr", "127.0.0.1:4711", "--metrics-addr", "[::1]:4712"]);
    }
}
