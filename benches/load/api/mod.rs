//! The control API of a service that has customers: 100,000 people, each with an account, 100,000 keys and 10,000 apps, on
//! SQLite and on PostgreSQL. How long each read takes that the document of the API has, and what people do most: searching,
//! signing in, getting a token, installing. One at a time, over HTTP, as a process that ships.

mod calls;
mod control;
mod seed;

use std::time::{Duration, Instant};

use calls::{Call, Caller};
use control::Control;

use crate::webhooks::Engine;

/// Which part of a hundred may take longer than what is said.
const PERCENTILE: usize = 99;

/// What took how long, and how long it may.
#[derive(Debug)]
struct Timed {
    what: String,
    took: Vec<Duration>,
    at_most: Option<Duration>,
}

impl Timed {
    fn at(&self, percentile: usize) -> Duration {
        self.took[(self.took.len() * percentile / 100).min(self.took.len() - 1)]
    }

    fn is_missed(&self) -> bool {
        self.at_most.is_some_and(|most| self.at(PERCENTILE) > most)
    }

    fn line(&self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let aim = self.at_most.map(|most| format!("{:>8.0}", ms(most))).unwrap_or_default();
        let missed = if self.is_missed() { "  MISSED" } else { "" };
        format!(
            "{:<64} {:>8.2} {:>8.2} {:>8.2} {aim}{missed}",
            self.what,
            ms(self.at(50)),
            ms(self.at(PERCENTILE)),
            ms(self.at(100))
        )
    }
}

/// `each` calls of a kind are timed, after a twentieth as many that are not.
pub(crate) async fn run(engines: &[Engine], each: usize) -> Result<(), String> {
    for &engine in engines {
        let mut control = Control::start(engine)?;
        control.stop();
        let began = Instant::now();
        let people = seed::fill(&control.location()?).await.map_err(|e| e.to_string())?;
        println(&format!(
            "\n{engine:?}: {} people with an account each, {} keys, {} apps, written in {:.0} s; {each} calls of a kind, one at a time",
            seed::PEOPLE,
            seed::KEYS,
            seed::APPS,
            began.elapsed().as_secs_f64()
        ));
        control.start_again()?;
        let mut caller = Caller::sign_in(&control, &people).await?;
        println(&format!("\n{:<64} {:>8} {:>8} {:>8} {:>8}", "", "p50 ms", "p99 ms", "max ms", "at most"));
        let mut reads = Vec::new();
        for call in calls::reads(&caller).await? {
            reads.push(time(&mut caller, call, each).await?);
        }
        let slowest = |timed: &Timed| std::cmp::Reverse(timed.at(PERCENTILE));
        reads.sort_by_key(slowest);
        let mut missed = 0;
        for timed in &reads {
            missed += usize::from(timed.is_missed());
            println(&timed.line());
        }
        for call in calls::acts() {
            let timed = time(&mut caller, call, each).await?;
            missed += usize::from(timed.is_missed());
            println(&timed.line());
        }
        println(&format!("\n{} reads; {missed} of all took longer than they may", reads.len()));
    }
    Ok(())
}

async fn time(caller: &mut Caller, call: Call, each: usize) -> Result<Timed, String> {
    let mut took = Vec::with_capacity(each);
    let warm_up = each.div_ceil(20);
    for nth in 0..warm_up + each {
        let began = Instant::now();
        caller.make(&call, nth).await.map_err(|why| format!("{}: {why}", call.what))?;
        if nth >= warm_up {
            took.push(began.elapsed());
        }
    }
    took.sort_unstable();
    Ok(Timed { what: call.what, took, at_most: call.at_most })
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn println(line: &str) {
    println!("{line}");
}
