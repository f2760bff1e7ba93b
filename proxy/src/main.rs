//! `clearway-proxy`: starts, says where it listens, waits to be stopped.

mod allocator;

use std::{
    io::{IsTerminal as _, Read as _},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use clap::Parser as _;
use clearway_proxy::{
    args::{Args, Upgrade},
    data_dir::DataDirError,
    descriptors,
    lease::Told,
    start::{self, Keys, Options, Proxy, StartError},
    upgrade::UpgradeError,
};
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tracing_subscriber::EnvFilter;

/// How long the first keys are waited for before saying that requests are taken.
const READY_WITHIN: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clearway-proxy: {}", error.line());
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), StartError> {
    let (settings, routes) = args.settings()?;
    if args.check {
        let gateway = start::check(&settings, &routes)?;
        say(format_args!("settings are right: {} routes, {} upstreams", gateway.routes.len(), gateway.upstreams.len()));
        return Ok(());
    }
    if args.tell_redis {
        return start::tell(&settings).map(|told| say(format_args!("{}", told_in_words(&told))));
    }
    let descriptors = descriptors::raise();
    let options = || Options { settings: settings.clone(), routes: routes.clone(), keys: Keys::FromControl };
    let proxy = match args.upgrade {
        None => Proxy::start(options())?,
        Some(Upgrade::Always) => Proxy::take_over(options())?,
        Some(Upgrade::IfRunning) => match Proxy::take_over(options()) {
            Err(error) if nothing_runs(&error) => Proxy::start(options())?,
            taken_over => taken_over?,
        },
    };
    let (gateway, egress, metrics) = (proxy.gateway(), proxy.egress(), proxy.metrics());
    if let Some(missing) = proxy.wait_until_ready(READY_WITHIN) {
        tracing::warn!("serving, but {missing}");
    }
    if args.json {
        let scheme = if settings.egress.tls { "https" } else { "http" };
        let tls = proxy.gateway_tls().map_or("null".to_owned(), |addr| format!("\"https://{addr}\""));
        say(format_args!(
            r#"{{"gateway":"http://{gateway}","gateway_tls":{tls},"egress":"{scheme}://{egress}","metrics":"http://{metrics}"}}"#
        ));
    }
    tracing::info!(%gateway, %egress, %metrics, descriptors, "requests are taken");
    tell_service_manager(NotifyState::Ready);
    let stopped = match proxy.background().block_on(until_ended(&proxy, args.exit_with_stdin))? {
        Ended::Stopped => {
            tracing::info!("draining");
            tell_service_manager(NotifyState::Stopping);
            proxy.stop()
        }
        Ended::Succeeded => proxy.retire(),
    };
    tracing::info!(connections.cut = stopped.connections_cut, "stopped");
    Ok(())
}

fn told_in_words(told: &Told) -> String {
    let Told { accounts, keys, day, month, members } = told;
    let counted = format!(
        "{day} requests of this day and {month} of this month, by {accounts} accounts and {keys} keys that are limited, are \
         in Redis; counts and sums are the same on both sides."
    );
    if *members == 0 {
        return counted;
    }
    format!("{counted}\n{members} gateways were there before: what they had been granted until now is granted beside it.")
}

/// Whether there was no process whose place could have been taken.
fn nothing_runs(error: &StartError) -> bool {
    matches!(error, StartError::Upgrade(UpgradeError::NothingRuns { .. }) | StartError::DataDir(DataDirError::Unused { .. }))
}

/// systemd waits for it where the unit is of `Type=notify`; elsewhere nobody is told.
fn tell_service_manager(state: NotifyState<'_>) {
    if let Err(e) = sd_notify::notify(&[state]) {
        tracing::warn!(error = %e, "the service manager cannot be told");
    }
}

/// Why a process does not go on.
enum Ended {
    Stopped,
    /// Another process has taken over.
    Succeeded,
}

/// Returns on SIGTERM or SIGINT, when standard input ends if that is asked for, or when another process has taken over.
async fn until_ended(proxy: &Proxy, with_stdin: bool) -> Result<Ended, StartError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let orphaned = Arc::new(Notify::new());
    if with_stdin {
        let orphaned = orphaned.clone();
        thread::Builder::new().name("stdin".into()).spawn(move || {
            // What is read does not matter; that there is no more of it does.
            let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
            orphaned.notify_one();
        })?;
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(Ended::Stopped),
            _ = interrupt.recv() => return Ok(Ended::Stopped),
            () = orphaned.notified() => return Ok(Ended::Stopped),
            () = proxy.succeeded() => return Ok(Ended::Succeeded),
            _ = hang_up.recv() => proxy.reload(),
        }
    }
}

#[expect(clippy::print_stdout, reason = "what a caller asked for goes to standard output")]
fn say(what: std::fmt::Arguments<'_>) {
    println!("{what}");
}
