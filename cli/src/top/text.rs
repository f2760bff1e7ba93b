//! The view as plain text, for pipes and logs.

use std::fmt::Write as _;

use super::status::{Busy, Status, millis, number, part, uptime};

/// Rows of each list.
const ROWS_MAX: usize = 20;

pub(crate) fn text(status: &Status) -> String {
    let traffic = &status.traffic;
    let mut text = format!(
        "clearway proxy {}: {}, up {}, revision {}\n\
         {} requests/s, {} rejects/s, {} errors/s, p50 {}, p99 {}, {} in flight on {} connections (last {} s)\n",
        status.version.as_str(),
        status.state().0,
        uptime(status.uptime_s),
        status.snapshot.revision,
        number(traffic.requests_per_s),
        number(traffic.rejects_per_s),
        number(traffic.errors_per_s),
        millis(traffic.p50_ms),
        millis(traffic.p99_ms),
        traffic.in_flight,
        traffic.connections,
        number(traffic.window_s),
    );
    let routes = status.routes.iter().map(|route| {
        let of = |n| part(n, route.requests_per_s);
        vec![
            route.name.as_str().to_owned(),
            number(route.requests_per_s),
            of(route.errors_per_s),
            of(route.rejects_per_s),
            millis(route.p50_ms),
            millis(route.p90_ms),
            millis(route.p99_ms),
            route.requests_total.to_string(),
        ]
    });
    table(&mut text, &["ROUTE", "REQUESTS/S", "ERRORS", "REJECTS", "P50", "P90", "P99", "TOTAL"], routes.collect());
    let rejects = status.rejects.iter().map(|r| vec![r.code.as_str().to_owned(), number(r.per_s), r.total.to_string()]);
    table(&mut text, &["REJECT", "/S", "TOTAL"], rejects.collect());
    let busy = |b: &Busy| vec![b.id.as_str().to_owned(), b.per_s.map_or_else(|| "-".into(), number), b.today.to_string()];
    table(&mut text, &["KEY", "/S", "TODAY"], status.busiest.keys.iter().map(busy).collect());
    table(&mut text, &["ACCOUNT", "/S", "TODAY"], status.busiest.accounts.iter().map(busy).collect());
    text
}

/// Nothing where there are no rows.
fn table(to: &mut String, head: &[&str], mut rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    rows.truncate(ROWS_MAX);
    rows.insert(0, head.iter().map(|word| (*word).to_owned()).collect());
    let widths: Vec<usize> =
        (0..head.len()).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    to.push('\n');
    for row in rows {
        for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Names to the left, numbers to the right.
            let written = if n == 0 { write!(to, "{cell:width$}") } else { write!(to, "  {cell:>width$}") };
            written.expect("a String takes everything");
        }
        to.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_shown_once_lines_up_and_leaves_out_what_is_empty() {
        let status: Status = serde_json::from_value(json!({
            "version": "1.0", "uptime_s": 61, "snapshot": {"revision": 7, "connected": true},
            "traffic": {"window_s": 5.0, "requests_per_s": 120.0, "in_flight": 3, "connections": 4},
            "routes": [{"name": "orders", "requests_per_s": 120.0, "errors_per_s": 1.2, "p50_ms": 1.5, "requests_total": 900}],
            "busiest": {"keys": [{"id": "key_1", "today": 12, "per_s": 2.0}, {"id": "key_10", "today": 5}]},
        }))
        .unwrap();
        let expected = "\
clearway proxy 1.0: serving, up 1 min, revision 7
120 requests/s, 0 rejects/s, 0 errors/s, p50 -, p99 -, 3 in flight on 4 connections (last 5.00 s)

ROUTE   REQUESTS/S  ERRORS  REJECTS      P50  P90  P99  TOTAL
orders         120   1.0 %    0.0 %  1.50 ms    -    -    900

KEY       /S  TODAY
key_1   2.00     12
key_10     -      5
";
        assert_eq!(text(&status), expected);
    }
}
