//! Webhooks from an event's acceptance to its receiver, over both databases, beside the least that a post can cost.

mod floor;
mod producers;
mod receiver;
mod stack;

use std::time::{Duration, Instant};

use clearway_filters::webhook::{HmacSecret, SigningKey, VerifyingSecret, verify};

use producers::{Emitted, Plan, emit};
use receiver::{HANGING, Receiver};
use stack::{Spent, Stack};

pub(crate) use stack::Engine;

const KIND: &str = "bench.happened";
const PRODUCERS: usize = 32;
/// Posts by which the floor is measured.
const FLOOR_POSTS: u64 = 32_000;
/// How long all that was accepted may take to arrive.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);
/// Webhooks beside the one that hangs.
const GOOD: usize = 99;

/// What the signatures of the floor are made by.
fn signing_key() -> SigningKey {
    SigningKey::new(&HmacSecret::new(&[7; 32]).expect("32 bytes are a secret"), None, None)
}

pub(crate) async fn run(engines: &[Engine], for_: Duration) -> Result<(), String> {
    let floor = floor::measure(Receiver::start()?.addr, FLOOR_POSTS)?;
    println("");
    println(&format!("the floor: a hyper client that signs and posts 1 KiB takes {:.1} us a post", micros(floor)));
    for &engine in engines {
        println(&format!("\n{engine:?}, {PRODUCERS} producers, 1 KiB, {} s a run", for_.as_secs()));
        println(&format!(
            "{:<22} {:>9} {:>10} {:>8} {:>8} {:>8} | {:>8} {:>8} {:>8} {:>8} {:>7}",
            "", "accept/s", "deliver/s", "p50 ms", "p99 ms", "acc p99", "CPU us", "control", "proxy", "database", "floors"
        ));
        let full = one_webhook(engine, for_, None, floor).await?;
        one_webhook(engine, for_, Some(full / 2.0), floor).await?;
        let good = many_webhooks(engine, for_, false).await?;
        let beside = many_webhooks(engine, for_, true).await?;
        println(&format!(
            "{GOOD} webhooks: {good:.0} deliveries/s; beside one that hangs: {beside:.0}/s, {:.3} of it",
            beside / good
        ));
    }
    Ok(())
}

/// Events of one webhook, at a rate or as fast as they are accepted; how many were delivered a second.
async fn one_webhook(engine: Engine, for_: Duration, rate: Option<f64>, floor: Duration) -> Result<f64, String> {
    let receiver = Receiver::start()?;
    let stack = Stack::start(engine).await?;
    stack.register(KIND).await?;
    let secret = stack.subscribe(&format!("http://{}/hook", receiver.addr), KIND, 64).await?;
    let plan = Plan {
        control: stack.api,
        key: stack.admin_key.clone(),
        kind: KIND.to_owned(),
        producers: PRODUCERS,
        rate,
        for_: Duration::from_secs(1),
        began: receiver.began,
    };
    // Proves what is timed, and warms it.
    let warm = emit(&plan).await?;
    receiver.wait_for(warm.events, DRAINED_WITHIN).await?;
    prove(&receiver, &secret)?;
    receiver.take_latencies();

    let (before, began) = (stack.spent(), Instant::now());
    let emitted = emit(&Plan { for_, ..plan }).await?;
    receiver.wait_for(warm.events + emitted.events, DRAINED_WITHIN).await?;
    let wall = began.elapsed();
    let spent = stack.spent().since(before);
    let delivered = emitted.events as f64 / wall.as_secs_f64();
    row(rate, &emitted, delivered, receiver.take_latencies(), spent, floor);
    Ok(delivered)
}

/// Deliveries a second to webhooks that all receive every event, maybe beside one that never answers.
async fn many_webhooks(engine: Engine, for_: Duration, beside_hanging: bool) -> Result<f64, String> {
    let receiver = Receiver::start()?;
    let stack = Stack::start(engine).await?;
    stack.register(KIND).await?;
    if beside_hanging {
        stack.subscribe(&format!("http://{}{HANGING}", receiver.addr), KIND, 8).await?;
    }
    for n in 0..GOOD {
        stack.subscribe(&format!("http://{}/hook/{n}", receiver.addr), KIND, 8).await?;
    }
    let plan = Plan {
        control: stack.api,
        key: stack.admin_key.clone(),
        kind: KIND.to_owned(),
        producers: PRODUCERS,
        rate: Some(20.0),
        for_,
        began: receiver.began,
    };
    let began = Instant::now();
    let emitted = emit(&plan).await?;
    receiver.wait_for(emitted.events * GOOD as u64, DRAINED_WITHIN).await?;
    Ok(receiver.answered() as f64 / began.elapsed().as_secs_f64())
}

/// What arrives must be signed by the webhook's secret.
fn prove(receiver: &Receiver, secret: &str) -> Result<(), String> {
    let message = receiver.last().ok_or("nothing was received")?;
    let secret: VerifyingSecret = secret.parse().map_err(|e| format!("the webhook's secret: {e}"))?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    verify(&message.headers, &message.body, &[secret], now).map_err(|fault| format!("what was received: {fault}"))
}

fn row(rate: Option<f64>, emitted: &Emitted, delivered: f64, mut latencies: Vec<u32>, spent: Spent, floor: Duration) {
    let mut accepted = emitted.accepted_us.clone();
    let ms = |us: u32| f64::from(us) / 1000.0;
    let each = |time: Duration| micros(time) / emitted.events as f64;
    println(&format!(
        "{:<22} {:>9.0} {:>10.0} {:>8.1} {:>8.1} {:>8.1} | {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>7.1}",
        rate.map_or("as fast as it goes".to_owned(), |rate| format!("{rate:.0} events/s")),
        emitted.events as f64 / emitted.wall.as_secs_f64(),
        delivered,
        ms(percentile(&mut latencies, 0.5)),
        ms(percentile(&mut latencies, 0.99)),
        ms(percentile(&mut accepted, 0.99)),
        each(spent.total()),
        each(spent.control),
        each(spent.proxy),
        each(spent.database),
        each(spent.total()) / micros(floor),
    ));
}

fn percentile(values: &mut [u32], part: f64) -> u32 {
    values.sort_unstable();
    values.get(((values.len() as f64 - 1.0) * part) as usize).copied().unwrap_or(0)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn println(line: &str) {
    println!("{line}");
}
