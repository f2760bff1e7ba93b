//! `clearway webhooks trigger`: an event made up for a test, on its way as every other.

use clap::Args;
use serde_json::{Value, json};

use super::segment;
use crate::{
    Fatal,
    api::{Api, Target},
};

#[derive(Debug, Args)]
pub(crate) struct Trigger {
    /// The event's type, such as product.created.
    #[arg(value_name = "TYPE")]
    kind: String,
    /// The one webhook that receives it, wh_…; without it the event is emitted to all that want it, which only a type of
    /// your own can be.
    #[arg(long, value_name = "ID")]
    webhook: Option<String>,
    /// The event's data as JSON; the type's example without it.
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[expect(clippy::print_stdout, reason = "what a command answers goes to standard output")]
pub(super) async fn run(args: Trigger) -> Result<(), Fatal> {
    let data = args.data.as_deref().map(serde_json::from_str::<Value>).transpose();
    let data = data.map_err(|e| Fatal::new(format!("--data is not JSON: {e}")))?;
    let api = Api::of(&args.target)?;
    let (answer, text) = match &args.webhook {
        Some(webhook) => {
            let mut body = json!({"event_type": args.kind});
            if let Some(data) = data {
                body["data"] = data;
            }
            let answer = api.post(&format!("/api/v1/webhooks/{}/test", segment(webhook)?), body).await?;
            let text = outcome(&answer);
            (answer, text)
        }
        None => {
            let data = data.ok_or_else(|| Fatal::new("give --webhook to receive the type's example, or --data to emit"))?;
            let answer = api.post("/api/v1/events", json!({"type": args.kind, "data": data})).await?;
            let text = format!("{} {} accepted", word(&answer["type"]), word(&answer["id"]));
            (answer, text)
        }
    };
    if args.target.json {
        println!("{answer:#}");
    } else {
        println!("{text}");
    }
    Ok(())
}

/// What became of the one attempt.
fn outcome(answer: &Value) -> String {
    let event = format!("{} {}", word(&answer["event_type"]), word(&answer["event_id"]));
    let Some(attempt) = answer["delivery"]["attempt_log"].as_array().and_then(|attempts| attempts.last()) else {
        return format!("{event} is on its way: not attempted yet");
    };
    let took = attempt["duration_ms"].as_f64().unwrap_or_default();
    match (attempt["status_code"].as_u64(), attempt["failure"].as_str()) {
        (Some(status), _) => format!("{event} answered {status} in {took:.0} ms"),
        (None, failure) => format!("{event} not answered: {} ({})", failure.unwrap_or("-"), word(&attempt["reason"])),
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_says_what_the_receiver_answered_or_why_it_did_not() {
        let with =
            |attempts: Value| json!({"event_type": "key.created", "event_id": "evt_1", "delivery": {"attempt_log": attempts}});
        let answered = with(json!([{"status_code": 500, "duration_ms": 3.4}]));
        assert_eq!(outcome(&answered), "key.created evt_1 answered 500 in 3 ms");
        let refused = with(
            json!([{"status_code": null, "failure": "address_refused", "reason": "10.0.0.1 is private", "duration_ms": 0.1}]),
        );
        assert_eq!(outcome(&refused), "key.created evt_1 not answered: address_refused (10.0.0.1 is private)");
        assert!(
            outcome(&json!({"event_type": "key.created", "event_id": "evt_1", "delivery": null})).contains("not attempted yet")
        );
    }
}
