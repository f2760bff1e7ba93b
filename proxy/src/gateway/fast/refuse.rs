//! Answers of the gateway's own, as bytes.

use clearway_filters::{Reject, quota::Standing};
use http::{Method, StatusCode, header::ALLOW};

use super::{
    super::{
        answer::{self, Answer},
        client::Client,
        decide::Stop,
        exchange::Exchange,
        forward,
        refuse::{BODY_DRAINED_MAX, allow},
    },
    head::Head,
    write,
};

/// Answers a refused request, having read its body. Says whether its connection goes on.
pub(super) async fn refuse(client: &mut Client, head: &Head, exchange: &mut Exchange, body_left: &mut u64, stop: &Stop) -> bool {
    let answer = answer::stopped(&exchange.asked(), stop);
    let read = client.discard(body_left, BODY_DRAINED_MAX).await;
    // Where an ambiguous request ends is a matter of opinion too.
    let keep = read && !matches!(stop, Stop::Refused(Reject::Ambiguous(_))) && head.keeps_alive() && !exchange.is_draining();
    let standing = exchange.standing().copied();
    let said = match stop {
        Stop::Refused(reject) => Said { standing: reject.standing(), allow: allow(reject), keep },
        Stop::Answered(_) => Said { standing: standing.as_ref(), allow: None, keep },
    };
    send(client, head, exchange, &answer, &said).await && keep
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
    let code = answer.status;
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
