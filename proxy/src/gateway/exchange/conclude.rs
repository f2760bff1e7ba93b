//! The end of an exchange: its metrics, its line in the log, its spans.

use std::time::Duration;

use super::{Exchange, ForwardedProto, Hold, Outcome};
use crate::{
    access_log::line::Line,
    gateway::{caching::Came, texts::Word},
    ledger::STATUS_CLIENT_GONE,
    metrics::{Answered, Traced},
    spans::{Attempt, Finished},
};

impl Exchange {
    /// Gives back what the request held, and says what became of it.
    pub(in crate::gateway) fn conclude(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.concluded, true) {
            return;
        }
        if self.background {
            self.attempts.end();
            return self.state.metrics.in_flight.dec();
        }
        let duration = self.started.elapsed();
        let status = self.meant.or(outcome.status).unwrap_or(STATUS_CLIENT_GONE);
        self.release(status);
        let ticket = match std::mem::replace(&mut self.hold, Hold::Nothing) {
            Hold::Ticket(ticket) => Some(ticket),
            Hold::Nothing | Hold::Place(_) => None,
        };
        let admitted = ticket.is_some();

        let route = self.facts.route.zip(self.table.as_ref());
        let metrics = route.and_then(|(index, table)| table.metrics.get(index));
        let answered = Answered {
            status,
            took: duration,
            upstream: self.attempts.took,
            rejected: self.facts.reject.is_some(),
            traced: self.trace.is_sampled().then_some(Traced { trace_id: self.trace.id, at_ms: self.now_ms }),
        };
        self.state.metrics.answered(metrics.map(|m| &**m), &answered);
        self.state.metrics.in_flight.dec();
        if let Some((came, route)) = self.came.zip(metrics) {
            self.state.metrics.cache.answered(route.name(), came.as_str());
        }
        let matched = route.and_then(|(index, table)| table.routes.all().get(index));
        let line = Line {
            time_ms: self.now_ms,
            request_id: self.request_id,
            trace_id: self.trace.id,
            method: self.method.as_str(),
            host: self.texts.text(Word::Host).unwrap_or_default(),
            path: self.texts.text(Word::Path).unwrap_or_default(),
            described: self.texts.text(Word::Described).unwrap_or_default(),
            route: matched.map(|route| route.name.as_str()),
            route_path: matched.map(|route| route.path.as_str()),
            status,
            admitted,
            reject: self.facts.reject,
            account_id: self.facts.account,
            key_id: self.facts.key,
            webhook_id: None,
            plan: self.texts.text(Word::Plan),
            auth: self.facts.auth,
            subject: self.texts.text(Word::Subject),
            address: self.facts.address,
            duration_us: micros(duration),
            upstream_us: self.attempts.took.map(micros),
            upstream: self.attempts.target,
            bytes_in: outcome.bytes_in,
            bytes_out: outcome.bytes_out,
            cache: self.came.map(Came::as_str),
            interrupted: false,
            protocol: if self.upgrade { Some("websocket") } else { self.protocol },
            tls: self.tls.as_ref().map(|tls| tls.version),
        };
        if self.trace.is_sampled() {
            self.record(&line, duration);
        }
        self.state.access_log.push(&line, ticket);
    }
}

impl Exchange {
    /// Hands the request's spans on, as its line tells it.
    fn record(&self, line: &Line<'_>, duration: Duration) {
        let passage = self.table.as_ref().zip(self.facts.upstream);
        let upstream = passage.map(|(table, upstream)| table.upstreams[upstream].name.as_str());
        let begun = self.attempts.target.zip(self.attempts.began).zip(upstream);
        let attempt = begun.map(|((target, began), upstream)| Attempt {
            upstream,
            target,
            began: began.saturating_duration_since(self.started),
            took: self.attempts.took,
            status: self.status,
            resent: self.attempts.made().saturating_sub(1),
        });
        self.state.spans.push(&Finished {
            trace_id: self.trace.id,
            span_id: self.trace.span,
            parent_id: self.trace.parent,
            request_id: self.request_id,
            method: line.method,
            https: self.forwarded_proto == ForwardedProto::Https,
            host: line.host,
            path: line.path,
            route: line.route,
            route_path: line.route_path,
            status: line.status,
            reject: line.reject,
            account_id: line.account_id,
            duration,
            attempt,
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.conclude(Outcome::default());
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
