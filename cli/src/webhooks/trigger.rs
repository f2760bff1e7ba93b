//! `clearway webhooks trigger`: an event made up for a test, on its way as every other.

use clap::Args;
use serde_json::{Value, json};

use crate::{
    Fatal,
    api::{Api, Target},
};

#[derive(Debug, Args)]
pub(crate) struct Trigger {
    /// The event's type, such as product.created.
    #[arg(value_name = "TYPE")]
    kind: String,
    /// The webhook that is to receive it, wh_…
    #[arg(long, value_name = "ID")]
    webhook: String,
    #[command(flatten)]
    target: Target,
}

#[expect(clippy::print_stdout, reason = "what a command answers goes to standard output")]
pub(super) async fn run(args: Trigger) -> Result<(), Fatal> {
    let id = super::segment(&args.webhook)?;
    let answer = Api::of(&args.target)?.post(&format!("/api/v1/webhooks/{id}/test"), json!({"type": args.kind})).await?;
    if args.target.json {
        println!("{answer:#}")
    } else {
        println!("{}", outcome(&answer))
    }
    Ok(())
}

fn outcome(answer: &Value) -> String {
    answer.to_string()
}
