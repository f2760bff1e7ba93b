//! `clearway top`: what a proxy is doing, live, from its admin address; once where there is no terminal.

mod status;
mod text;
mod view;

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use reqwest::Client;
use tokio::sync::mpsc;

use crate::{
    Fatal,
    api::{self, innermost},
};
use status::Status;
use view::View;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Between the two questions of `--once`: rates by key are of the time between two.
const LOOK_AGAIN: Duration = Duration::from_millis(1_100);
/// How long the keyboard is waited for before looking whether the view is still there.
const KEYS_POLL: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The proxy's metrics address.
    #[arg(long, env = "CLEARWAY_ADMIN_URL", default_value = "http://127.0.0.1:9090")]
    url: String,
    /// Seconds between two questions.
    #[arg(long, default_value_t = 1, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Print it once and exit; so it does where its output is no terminal.
    #[arg(long)]
    once: bool,
    /// Print what the proxy says, as JSON, once.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> Result<(), Fatal> {
    let proxy = Proxy::new(&args.url)?;
    if args.json || args.once || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return once(&proxy, args.json).await;
    }
    let mut terminal = ratatui::try_init().map_err(|e| Fatal::new(format!("the terminal cannot be drawn on: {e}")))?;
    let ended = live(&mut terminal, &proxy, Duration::from_secs(args.interval)).await;
    ratatui::restore();
    ended.map_err(|e| Fatal::new(format!("the terminal cannot be drawn on: {e}")))
}

async fn once(proxy: &Proxy, as_json: bool) -> Result<(), Fatal> {
    proxy.ask().await.map_err(Fatal::new)?;
    tokio::time::sleep(LOOK_AGAIN).await;
    let document = proxy.ask().await.map_err(Fatal::new)?;
    let text = if as_json { format!("{document:#}\n") } else { text::text(&read(document).map_err(Fatal::new)?) };
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever read it has seen enough.
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Fatal::new(format!("cannot write: {e}"))),
        _ => Ok(()),
    }
}

async fn live(terminal: &mut ratatui::DefaultTerminal, proxy: &Proxy, interval: Duration) -> io::Result<()> {
    let mut view = View::new(proxy.url.clone());
    let mut keys = keyboard();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| view.draw(frame))?;
        tokio::select! {
            _ = ticks.tick() => {
                if !view.paused {
                    view.heard(proxy.ask().await.and_then(read));
                }
            }
            key = keys.recv() => match key {
                None | Some(Event::Key(event::KeyEvent { code: KeyCode::Char('q') | KeyCode::Esc, .. })) => return Ok(()),
                Some(Event::Key(key)) if key.kind == KeyEventKind::Press => match key.code {
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                    KeyCode::Char('p' | ' ') => view.paused = !view.paused,
                    KeyCode::Char('s') => view.sort = view.sort.next(),
                    _ => {}
                },
                // A resized terminal is drawn anew.
                Some(_) => {}
            },
        }
    }
}

/// What is typed, read by a thread that ends when nobody listens any more.
fn keyboard() -> mpsc::Receiver<Event> {
    let (typed, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        while !typed.is_closed() {
            match event::poll(KEYS_POLL).and_then(|ready| if ready { event::read().map(Some) } else { Ok(None) }) {
                Ok(None) => {}
                Ok(Some(event)) => {
                    if typed.blocking_send(event).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    });
    keys
}

/// Where the figures come from.
#[derive(Debug)]
struct Proxy {
    client: Client,
    url: String,
}

impl Proxy {
    fn new(url: &str) -> Result<Self, Fatal> {
        let client = api::builder().timeout(TIMEOUT).build();
        let client = client.map_err(|e| Fatal::new(format!("cannot make an HTTP client: {e}")))?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned() })
    }

    async fn ask(&self) -> Result<serde_json::Value, String> {
        let url = format!("{}/status.json", self.url);
        let mut answer = self.client.get(&url).send().await.map_err(|e| format!("{url}: {}", innermost(&e)))?;
        if !answer.status().is_success() {
            return Err(format!("{url}: answered {}; is this a proxy's metrics address?", answer.status()));
        }
        let mut read = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| format!("{url}: {}", innermost(&e)))? {
            if read.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(format!("{url}: the answer is too long"));
            }
            read.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&read).map_err(|e| format!("{url}: {e}"))
    }
}

fn read(document: serde_json::Value) -> Result<Status, String> {
    serde_json::from_value(document).map_err(|e| format!("the status cannot be read: {e}"))
}
