//! Whether what came back, what arrived and what was counted is what a case expects.

use super::{
    case::{Case, Way},
    client::{Answer, Heard},
    recorder::Received,
};

/// Names that the gateway itself speaks by, in its spelling; each arrives once, or not at all.
const OURS: [&str; 8] = [
    "x-clearway-account-id",
    "x-clearway-key-id",
    "x-clearway-plan",
    "x-request-id",
    "traceparent",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];
/// Names that never arrive, however they are spelled.
const NEVER: [&str; 27] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "authorization",
    "x-api-key",
    "forwarded",
    "tracestate",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-original-method",
    "x-rewrite-url",
    "x-host",
    "proxy",
    "x-clearway-ratelimit",
];
/// What a case writes where nothing of it may arrive.
const FORGED: &str = "forged";

/// Who a case's requests are, where they pass.
#[derive(Debug)]
pub(crate) struct Identity<'i> {
    pub(crate) account: &'i str,
    pub(crate) key: &'i str,
}

/// What is wrong; nothing, if the case holds.
pub(crate) fn judge(case: &Case, identity: &Identity<'_>, heard: &Heard, arrived: &[&Received], counted: u64) -> Vec<String> {
    let mut faults: Vec<String> = heard.fault.iter().cloned().collect();
    let ways = answers(case, &heard.answers, &mut faults);
    let passes: Vec<_> = ways
        .iter()
        .filter_map(|way| match way {
            Way::Pass { method, target } => Some((method.as_str(), target.as_str())),
            Way::Refused(_) | Way::Closed | Way::Cut => None,
        })
        .collect();
    let cuts = ways.iter().filter(|way| ***way == Way::Cut).count();
    let whole: Vec<_> = arrived.iter().filter(|request| request.whole).collect();
    let came: Vec<_> = whole.iter().map(|request| (request.method.as_str(), request.target.as_str())).collect();
    if came != passes {
        faults.push(format!("the upstream read {came:?}, and should have read {passes:?}"));
    }
    if arrived.len() - whole.len() > cuts {
        faults.push("the upstream read a request without an end".into());
    }
    // A request that is cut has been charged once its head was in order.
    let counts = passes.len() as u64..=(passes.len() + cuts) as u64;
    if !counts.contains(&counted) {
        faults.push(format!("{counted} requests were counted, and should have been {counts:?}"));
    }
    for request in arrived {
        clean(case, identity, request, &mut faults);
    }
    for (wanted, read) in
        [(&case.body, |request: &Received| &request.body), (&case.tunnelled, |request: &Received| &request.tunnelled)]
            as [(&Option<Vec<u8>>, fn(&Received) -> &Vec<u8>); 2]
    {
        let (Some(wanted), Some(last)) = (wanted, whole.last()) else { continue };
        let read = read(last);
        if read != wanted {
            faults.push(format!(
                "the upstream read \"{}\", and should have read \"{}\"",
                read.escape_ascii(),
                wanted.escape_ascii()
            ));
        }
    }
    if !faults.is_empty() {
        faults.extend(arrived.iter().map(|request| format!("arrived: {}", request.shown())));
    }
    faults
}

/// What has become of each request, as far as it is one of the ways that are expected.
fn answers<'c>(case: &'c Case, answers: &[Answer], faults: &mut Vec<String>) -> Vec<&'c Way> {
    let status = |at: usize| answers.get(at).map(|answer| answer.status);
    let ways = case.expect.iter().enumerate().map(|(at, verdict)| verdict.fulfilled_by(status(at)));
    let ways: Vec<_> = ways.collect();
    if ways.contains(&None) || answers.len() > ways.len() {
        let got: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        faults.push(format!("was answered {got:?}, expected {:?}", case.expect));
    }
    for (at, answer) in answers.iter().enumerate() {
        // Where a request that can be read in two ways ends is a matter of opinion.
        if answer.status == 400 && !answer.is_h2 && (!answer.closes || at + 1 < answers.len()) {
            faults.push("a connection went on after 400".into());
        }
        // What is not even a request is answered by what reads frames, and without a body.
        let is_bare = answer.is_h2 && matches!(answer.status, 400 | 405 | 431) && answer.body.is_empty();
        if answer.status >= 400 && !is_bare && case.asks_for_head() == answer.body.starts_with(b"{") {
            faults.push(format!("{} without the envelope: {}", answer.status, answer.body.escape_ascii()));
        }
    }
    ways.into_iter().flatten().collect()
}

/// Exactly one identity, and nothing that speaks in the gateway's name but the gateway.
fn clean(case: &Case, identity: &Identity<'_>, request: &Received, faults: &mut Vec<String>) {
    faults.extend(request.fault.iter().map(|fault| format!("a strict upstream could not read {fault}")));
    let keeps = request.target.starts_with("/kept");
    let shown = String::from_utf8_lossy(&request.raw);
    let lower = shown.to_ascii_lowercase();
    for word in case.never.iter().map(String::as_str).chain([FORGED]) {
        if lower.contains(&word.to_ascii_lowercase()) {
            faults.push(format!("`{word}` reached the upstream"));
        }
    }
    if shown.contains("clw_live_") && !keeps {
        faults.push("a credential reached the upstream".into());
    }
    let mut exactly = |name: &str, values: &[&str]| {
        let came = request.header(name);
        if came != values {
            faults.push(format!("{name}: {came:?}, and should be {values:?}"));
        }
    };
    exactly("x-clearway-account-id", &[identity.account]);
    exactly("x-clearway-key-id", &[identity.key]);
    exactly("x-clearway-plan", &["enterprise"]);
    exactly("x-forwarded-for", &["127.0.0.1"]);
    exactly("x-forwarded-proto", &["http"]);
    for name in ["host", "x-request-id", "traceparent", "x-forwarded-host"] {
        if request.header(name).len() != 1 {
            faults.push(format!("{name} {} times", request.header(name).len()));
        }
    }
    for (name, value) in request.headers.iter().chain(&request.trailers) {
        let read: String = name.chars().map(|c| if matches!(c, '_' | '.') { '-' } else { c }).collect();
        let kept = (keeps && matches!(name.as_str(), "authorization" | "x-api-key"))
            || (matches!(name.as_str(), "connection" | "upgrade") && case.asks_for(name, value));
        let ours =
            read.starts_with("x-clearway") || read.starts_with("x-forwarded") || matches!(&*read, "x-request-id" | "traceparent");
        let framing = matches!(&*read, "content-length" | "transfer-encoding" | "host");
        if (ours && !OURS.contains(&name.as_str())) || (framing && read != *name) || (NEVER.contains(&&*read) && !kept) {
            faults.push(format!("{name}: {value} reached the upstream"));
        }
    }
    for (name, _) in &request.trailers {
        if OURS.contains(&name.as_str()) || matches!(name.as_str(), "content-length" | "transfer-encoding" | "host") {
            faults.push(format!("a trailer {name} reached the upstream"));
        }
    }
    for line in &case.present {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        if request.header(&name.to_ascii_lowercase()) != [value] {
            faults.push(format!("{name}: {:?}, and should be {value:?}", request.header(&name.to_ascii_lowercase())));
        }
    }
}
