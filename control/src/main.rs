//! `clearway-control`: flags, logs and signals around [`clearway_control::app`].

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser, Subcommand};
use clearway_config::settings::{Settings, process::Registration};
use clearway_control::{
    api,
    app::{self, App, DATABASE_URL, Start, StartError},
    migrate,
    secrets::MASTER_KEY,
    users::FirstAdmin,
    world::World,
};
use sd_notify::NotifyState;
use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tracing_subscriber::EnvFilter;

/// Events, deliveries and snapshots are many small allocations by many threads, that live for a moment.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Clearway's control plane: the API for keys, plans and usage, and the sync service for its proxies.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Flags {
    /// Settings; the defaults and `config/plans.toml` when left out
    #[arg(long, value_name = "FILE", env = "CLEARWAY_CONFIG")]
    config: Option<PathBuf>,
    /// Holds the database and the sync token
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the API listens; port 0 picks a free one
    #[arg(long, value_name = "ADDR")]
    control_addr: Option<SocketAddr>,
    /// Where proxies attach; port 0 picks a free one
    #[arg(long, value_name = "ADDR")]
    sync_addr: Option<SocketAddr>,
    /// Where metrics and health are served; port 0 picks a free one
    #[arg(long, value_name = "ADDR")]
    metrics_addr: Option<SocketAddr>,
    /// Who may become a user: open, invited or closed
    #[arg(long, value_name = "WHO")]
    registration: Option<Registration>,
    /// Print one line of JSON on standard output once ready
    #[arg(long)]
    json: bool,
    /// Check the settings and the files that they name, and stop
    #[arg(long)]
    check: bool,
    /// Make a further secret of the first admin's key and print it; older ones work for 24 more hours
    #[arg(long)]
    rotate_admin_key: bool,
    /// Stop when standard input ends, as it does when the parent process is gone
    #[arg(long)]
    exit_with_stdin: bool,
    #[command(subcommand)]
    command: Option<Instead>,
}

/// What is done instead of serving.
#[derive(Debug, Subcommand)]
enum Instead {
    /// Print the API's OpenAPI document (docs/api/openapi.json)
    Openapi,
    /// Print the list of error codes (docs/errors.md)
    Errors,
    /// Copy everything from a SQLite database into an empty PostgreSQL one; control must not be running
    Migrate {
        /// sqlite:FILE: `control/control.db` in the data directory
        #[arg(long, value_name = "URL")]
        from: String,
        /// postgres://…; a password can also come from PGPASSWORD or a file that PGPASSFILE names
        #[arg(long, value_name = "URL", env = DATABASE_URL, hide_env_values = true)]
        to: String,
    },
    /// Change the master key: wrap what the database's secrets are sealed by in another one
    Rewrap {
        /// Settings; the defaults when left out
        #[arg(long, value_name = "FILE", env = "CLEARWAY_CONFIG")]
        config: Option<PathBuf>,
        /// Holds the database and the master key
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// Where the new master key is, 32 bytes in base64; made where the file is missing
        #[arg(long, value_name = "FILE")]
        new_master_key: PathBuf,
    },
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let outcome = match &flags.command {
        Some(Instead::Openapi) => show(&api::document()),
        Some(Instead::Errors) => show(&api::errors()),
        Some(Instead::Migrate { from, to }) => move_up(from, to),
        Some(Instead::Rewrap { config, data_dir, new_master_key }) => {
            rewrap(config.as_deref(), data_dir.as_ref(), new_master_key)
        }
        None => settings(&flags).and_then(|settings| if flags.check { check(&settings) } else { run(&flags, settings) }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clearway-control: {error}");
            ExitCode::FAILURE
        }
    }
}

fn settings(flags: &Flags) -> Result<Settings, StartError> {
    let mut settings = Settings::load(flags.config.as_deref())?;
    if flags.config.is_none() {
        settings.control.plans_file = PathBuf::from("config").join(&settings.control.plans_file);
    }
    let Flags { data_dir, control_addr, sync_addr, metrics_addr, registration, .. } = flags;
    registration.clone_into_some(&mut settings.control.registration);
    data_dir.clone_into_some(&mut settings.data_dir);
    control_addr.clone_into_some(&mut settings.control.addr);
    sync_addr.clone_into_some(&mut settings.sync.addr);
    metrics_addr.clone_into_some(&mut settings.metrics.control_addr);
    Ok(settings)
}

/// A flag that was given replaces a setting.
trait Override<T> {
    fn clone_into_some(&self, setting: &mut T);
}

impl<T: Clone> Override<T> for Option<T> {
    fn clone_into_some(&self, setting: &mut T) {
        if let Some(given) = self {
            *setting = given.clone();
        }
    }
}

fn check(settings: &Settings) -> Result<(), StartError> {
    for warning in app::check(settings)? {
        eprintln!("warning: {warning}");
    }
    show("settings are good\n")
}

fn rewrap(config: Option<&Path>, data_dir: Option<&PathBuf>, to: &Path) -> Result<(), StartError> {
    let mut settings = Settings::load(config)?;
    data_dir.cloned().clone_into_some(&mut settings.data_dir);
    let runtime = tokio::runtime::Runtime::new().map_err(|why| StartError::Runtime { why })?;
    show(&runtime.block_on(app::rewrap(start(settings), to))?)
}

/// Progress goes to standard error, what to do next to standard output.
fn move_up(from: &str, to: &str) -> Result<(), StartError> {
    let runtime = tokio::runtime::Runtime::new().map_err(|why| StartError::Runtime { why })?;
    show(&runtime.block_on(migrate::run(from, to, |line| eprintln!("{line}")))?)
}

/// The settings, and what the environment says before them.
fn start(settings: Settings) -> Start {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    Start {
        settings,
        database_url: variable(DATABASE_URL),
        master_key: variable(MASTER_KEY).map(Into::into),
        world: World::system(),
    }
}

fn run(flags: &Flags, settings: Settings) -> Result<(), StartError> {
    log_to_stderr();
    let runtime = tokio::runtime::Runtime::new().map_err(|why| StartError::Runtime { why })?;
    runtime.block_on(async {
        // Before anything takes time: a signal during the start must stop it too.
        let stop = stop_signal(flags.exit_with_stdin).map_err(|why| StartError::Runtime { why })?;
        let sync_scheme = if settings.sync.tls.is_some() { "https" } else { "http" };
        let mut app = App::open(start(settings)).await?;
        let addresses = app.addresses().map_err(|why| StartError::Runtime { why })?;
        let mut admin = app.take_first_admin();
        if admin.is_none() && flags.rotate_admin_key {
            admin = app.another_admin_key().await?;
        }
        let places = Places {
            control: format!("http://{}", addresses.api),
            sync: format!("{sync_scheme}://{}", addresses.sync),
            metrics: format!("http://{}", addresses.metrics),
        };
        show(&ready(flags.json, &places, admin.as_ref()))?;
        tracing::info!(control = %addresses.api, sync = %addresses.sync, metrics = %addresses.metrics, "ready");
        tell_service_manager(NotifyState::Ready);
        app.serve(stop).await
    })
}

/// Where the process is to be reached, as URLs.
struct Places {
    control: String,
    sync: String,
    metrics: String,
}

/// What is printed once ready. The admin's secrets are printed here and nowhere else.
fn ready(json: bool, Places { control, sync, metrics }: &Places, admin: Option<&FirstAdmin>) -> String {
    if json {
        let mut line = json!({ "control": control, "sync": sync, "metrics": metrics });
        if let Some(FirstAdmin { email, password, key }) = admin {
            line["admin_email"] = json!(email);
            line["admin_password"] = json!(password);
            line["admin_key"] = json!(key.reveal());
        }
        return format!("{line}\n");
    }
    let mut text = format!("control  {control}\nsync     {sync}\nmetrics  {metrics}\n");
    if let Some(FirstAdmin { email, password, key }) = admin {
        text.push_str(&format!("\nThese are shown once: keep them.\nadmin    {email}\n"));
        if let Some(password) = password {
            text.push_str(&format!("password {password}\n"));
        }
        text.push_str(&format!("key      {}\n", key.reveal()));
    }
    text
}

fn show(text: &str) -> Result<(), StartError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|why| StartError::Output { why })
}

fn stop_signal(with_stdin: bool) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let orphaned = Arc::new(Notify::new());
    if with_stdin {
        let orphaned = orphaned.clone();
        // A thread of its own: reading standard input cannot be given up.
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            orphaned.notify_one();
        })?;
    }
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = orphaned.notified() => {}
        }
        tracing::info!("stopping");
        tell_service_manager(NotifyState::Stopping);
    })
}

/// systemd waits for it where the unit is of `Type=notify`; elsewhere nobody is told.
fn tell_service_manager(state: NotifyState<'_>) {
    if let Err(e) = sd_notify::notify(&[state]) {
        tracing::warn!(error = %e, "the service manager cannot be told");
    }
}

/// Text for a terminal, JSON for everything else; `RUST_LOG` chooses what.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().flatten_event(true).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = panic.payload_as_str().unwrap_or_default();
        tracing::error!(panic.place = place, panic.message = said, "panicked");
    }));
}
