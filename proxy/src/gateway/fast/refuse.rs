//! Answers of the gateway's own, as bytes.

use clearway_filters::{Reject, quota::Standing};
use http::{Method, StatusCode, header::ALLOW};

use super::{
    super::{
        answer::{self, Answer},
        client::Client,
        exchange::Exchange,
        forward,
        refuse::BODY_DRAINED_MAX,
    },
    head::Head,
    write,
};

/// Answers a refused request, having read its body. Says whether its connection goes on.
pub(super) async fn refuse(
    client: &mut Client,
    head: &Head,
    exchange: &mut Exchange,
    body_left: &mut u64,
    reject: &Reject,
) -> bool {
    let answer = answer::rejected(&exchange.asked(), reject);
    let read = client.discard(body_left, BODY_DRAINED_MAX).await;
    // Where an ambiguous request ends is a matter of opinion too.
    let keep = read && !matches!(reject, Reject::Ambiguous(_)) && head.keeps_alive() && !exchange.is_draining();
    // RFC 9110, 15.5.6: a 405 names the methods that would do.
    let allow = if let Reject::MethodNotAllowed(methods) = reject { Some(methods.to_string()) } else { None };
    send(client, head, exchange, &answer, &Said { standing: reject.standing(), allow, keep }).await && keep
}

/// What is said beside the answer itself.
#[derive(Debug)]
pub(super) struct Said<'a> {
    pub(super) standing: Option<&'a Standing>,
    pub(super) allow: Option<String>,
    pub(super) keep: bool,
}

/// Sends an answer. Says whether the client took it.
pub(super) async fn send(client: &mut Client, head: &Head, exchange: &mut Exchange, answer: &Answer, said: &Said<'_>) -> bool {
    let mut bytes = Vec::with_capacity(768 + answer.body.len());
    let code = answer.code.status();
    let reason = StatusCode::from_u16(code).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    write::status(&mut bytes, code, reason);
    write::date(&mut bytes, exchange.now_ms);
    write::told(answer.told(|name, value| write::tell(&mut bytes, name, value)));
    if let Some(allow) = &said.allow {
        write::put(&mut bytes, ALLOW.as_str().as_bytes(), allow.as_bytes());
    }
    write::told(forward::told_client(exchange, said.standing, |name, value| write::tell(&mut bytes, name, value)));
    write::end(&mut bytes, said.keep);
    if head.parts.method != Method::HEAD {
        bytes.extend_from_slice(&answer.body);
    }
    exchange.release(code);
    exchange.answered = Some(code);
    client.write_all(&bytes).await.is_ok()
}
