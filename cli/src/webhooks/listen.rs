//! `clearway webhooks listen`: the account's feed, posted to a receiver as a proxy would post it.
//!
//! It reads the feed and no webhook, so nothing has to be reachable from outside and nobody's deliveries change. A
//! receiver that does not answer misses the event here: trying again is what webhooks do.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use clearway_filters::webhook::{self, HmacSecret, Signer, SigningKey};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Fatal,
    api::{self, Api, Target},
};

/// How long the feed may be silent before it is asked again.
const WAIT_S: u64 = 25;
/// Events asked for at once.
const PAGE: u8 = 100;
/// How long a receiver may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Before a control plane that could not be reached is asked again.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Where events are posted to: http://localhost:3000/hook
    #[arg(long, value_name = "URL")]
    forward: Url,
    /// An event type or a pattern such as product.*; repeat for several. All without it.
    #[arg(long = "event", value_name = "TYPE")]
    events: Vec<String>,
    /// Begin after this place in the feed instead of with what happens from now on; 0 is its beginning.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Another account's events (admins only).
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Event>,
    next_cursor: String,
}

/// What is posted of an event, in this order.
#[derive(Debug, Serialize, Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    timestamp: String,
    /// As it was written.
    data: Box<RawValue>,
}

/// Posts as a proxy does.
struct Receiver {
    client: Client,
    url: Url,
    signer: Signer,
}

#[expect(clippy::print_stdout, reason = "what a command answers goes to standard output")]
pub(super) async fn run(args: Listen) -> Result<(), Fatal> {
    let secret = HmacSecret::new(&rand::random::<[u8; 32]>()).expect("32 bytes are a secret");
    let signer = Signer::new(vec![SigningKey::new(&secret, None, None)]);
    let client = api::builder().timeout(ANSWER_WITHIN).build();
    let client = client.map_err(|e| Fatal::new(format!("cannot make an HTTP client: {e}")))?;
    let receiver = Receiver { client, url: args.forward.clone(), signer };
    let api = Api::of(&args.target)?;
    let mut cursor = match &args.after {
        Some(cursor) => cursor.clone(),
        None => read(&api, &args, "latest", 0).await?.next_cursor,
    };
    println!("Listening. Messages are signed by {}", secret.reveal());
    loop {
        let page = tokio::select! {
            page = read(&api, &args, &cursor, WAIT_S) => page,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let page = match page {
            Ok(page) => page,
            Err(why) => {
                eprintln!("clearway: {why}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        for event in &page.items {
            println!("{}", receiver.post(event).await);
        }
        cursor = page.next_cursor;
    }
}

async fn read(api: &Api, args: &Listen, after: &str, wait_s: u64) -> Result<Page, Fatal> {
    let mut path = format!("/api/v1/events?after={after}&limit={PAGE}&wait={wait_s}");
    let types = (!args.events.is_empty()).then(|| args.events.join(","));
    for (name, value) in [("type", &types), ("account_id", &args.account)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>()));
        }
    }
    api.read(&path).await
}

impl Receiver {
    /// Posts an event, and says in one line what became of it.
    async fn post(&self, event: &Event) -> String {
        let Event { id, kind, .. } = event;
        let body = serde_json::to_string(event).expect("text and JSON are written as JSON");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let Some(signed) = self.signer.sign(id, now.as_secs(), body.as_bytes(), now_ms) else {
            return format!("{kind} {id} cannot be signed");
        };
        let brand = webhook::brand_header("Clearway").expect("letters");
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header(webhook::ID, id)
            .header(webhook::TIMESTAMP, now.as_secs())
            .header(webhook::SIGNATURE, signed.standard)
            .header(brand, signed.brand)
            .header("clearway-event-type", kind)
            .header("clearway-attempt", 1)
            .body(body);
        let began = Instant::now();
        match request.send().await {
            Ok(answer) => format!("{} {kind} {id} {} ms", answer.status().as_u16(), began.elapsed().as_millis()),
            Err(why) => format!("--- {kind} {id} {}", api::innermost(&why)),
        }
    }
}
