//! One attempt, from a message to what came of it: an answer, or why there was none ([`failure`]). What is kept of either is
//! without secrets ([`redact`]).

pub(in crate::egress) mod failure;
pub(in crate::egress) mod message;
mod redact;
mod retry_after;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use clearway_config::{
    egress::{RESPONSE_BODY_BYTES_MAX, v1, v1::Failure},
    sync::v1::Header,
};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt as _;

use self::{
    failure::Failed,
    message::{Message, Signed},
};
use super::{
    Egress,
    places::{Place, Side},
    reach::{Answer, AnswerBody, Clock, pool::Pool},
    receiver::{Ready, oauth::OauthClient},
};
use crate::{gateway::now_ms, snapshot::Webhook};

/// Posts; its clones share their connections. One that serves a thread of its own is made for it: then none of a
/// connection's work crosses threads.
#[derive(Debug, Clone)]
pub struct Poster {
    pub(in crate::egress) egress: Arc<Egress>,
    pub(in crate::egress) pool: Arc<Pool>,
}

/// What came of an attempt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Milliseconds since 1970 UTC.
    pub started_at: u64,
    pub duration: Duration,
    /// Of the receiver's answer, where there was one.
    pub status: Option<u16>,
    /// Why there was none.
    pub failure: Option<Failure>,
    /// One line for people, without secrets.
    pub reason: String,
    /// Who was connected to, where anybody was.
    pub address: Option<IpAddr>,
    /// How long the receiver asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Without what may be a secret, both.
    pub request_headers: Vec<Header>,
    pub response_headers: Vec<Header>,
    /// Its beginning.
    pub response_body: String,
    pub response_body_cut: bool,
}

impl Poster {
    /// Within the runtime that does its work.
    pub fn new(egress: Arc<Egress>) -> Self {
        Self { egress, pool: Pool::start() }
    }

    /// Makes one attempt for control. Nothing is sent where the webhook is not active, cannot be signed for, or there is no room.
    pub async fn post(&self, webhook: &Webhook, message: Message) -> Outcome {
        let (began, started_at) = (Instant::now(), now_ms());
        let mut outcome = Outcome { started_at, ..Outcome::default() };
        match self.attempt(webhook, message, started_at, &mut outcome).await {
            Ok(()) => {}
            Err(failed) => {
                outcome.failure = Some(failed.failure);
                outcome.reason = redact::masked(failed.reason, &[]);
                outcome.address = failed.address.or(outcome.address);
            }
        }
        outcome.duration = began.elapsed();
        outcome
    }

    async fn attempt(&self, webhook: &Webhook, message: Message, now_ms: u64, outcome: &mut Outcome) -> Result<(), Failed> {
        let to = Self::ready(webhook)?;
        let place = self.enter(Side::Control)?;
        let malformed = || Failed::new(Failure::Unspecified, "its id or type is none that a header can carry");
        let (id, described) = message.described().ok_or_else(malformed)?;
        let timestamp_s = now_ms / 1000;
        let signatures = to.signer.sign(&message.id, timestamp_s, &message.body, now_ms).ok_or_else(unsigned)?;
        let attempt = Some(message.attempt);
        let signed = Signed { id, timestamp_s, signatures, attempt, described, body: message.body };
        outcome.request_headers = redact::headers(signed.request(to, None).headers(), &[]);

        let Answer { head, body, address } = self.send(webhook, to, &signed, place).await?;
        outcome.status = Some(head.status.as_u16());
        outcome.address = Some(address);
        outcome.retry_after = retry_after::read(&head.headers, SystemTime::now());
        let token = to.oauth.as_ref().and_then(OauthClient::held);
        let secrets: Vec<&str> =
            to.authorization.iter().chain(token.as_ref().map(|token| token.value())).flat_map(shown).collect();
        outcome.response_headers = redact::headers(&head.headers, &secrets);
        if head.status.is_redirection() {
            "redirects are not followed".clone_into(&mut outcome.reason);
        }
        let (bytes, end) = beginning(body).await;
        match end {
            End::Whole => {}
            End::Cut => outcome.response_body_cut = true,
            // It has said what became of the message.
            End::Broken(why) => {
                outcome.response_body_cut = true;
                outcome.reason = why;
            }
        }
        outcome.response_body = redact::beginning_masked(String::from_utf8_lossy(&bytes).into_owned(), &secrets);
        Ok(())
    }

    /// Whether anything can be posted for a webhook at all.
    pub(in crate::egress) fn ready(webhook: &Webhook) -> Result<&Ready, Failed> {
        if !webhook.active {
            return Err(Failed::new(Failure::WebhookInactive, "the webhook is not active"));
        }
        let to = webhook.endpoint().ready.as_ref().map_err(|why| Failed::new(Failure::WebhookUnknown, why.clone()))?;
        if !to.signer.is_live(now_ms()) {
            return Err(unsigned());
        }
        Ok(to)
    }

    /// A place for one attempt, until it has come to its end.
    pub(in crate::egress) fn enter(&self, side: Side) -> Result<Place, Failed> {
        self.egress.places.enter(side).ok_or_else(|| Failed::new(Failure::Overloaded, "as many attempts are in flight as may be"))
    }

    /// Sends a message, and once more with another access token where the receiver refuses the one that is held.
    pub(in crate::egress) async fn send(
        &self,
        webhook: &Webhook,
        ready: &Ready,
        signed: &Signed,
        place: Place,
    ) -> Result<Answer, Failed> {
        let Self { egress, pool } = self;
        let (timeouts, to) = (webhook.timeouts(&egress.settings), (&ready.target, ready.identity.as_ref()));
        let mut clock = Clock::start(timeouts);
        let Some(client) = &ready.oauth else {
            let mut answer = egress.exchange(pool, to, clock, || signed.request(ready, None)).await?;
            answer.body.keep(place);
            return Ok(answer);
        };
        let late = || Failed::new(Failure::Oauth, "no access token came in time");
        let token = clock.bound(timeouts.total, client.token(self, timeouts)).await.ok_or_else(late)??;
        let mut answer = egress.exchange(pool, to, clock, || signed.request(ready, Some(token.value()))).await?;
        if answer.head.status == StatusCode::UNAUTHORIZED {
            client.refused(&token);
            let mut clock = answer.body.give_up();
            let token = clock.bound(timeouts.total, client.token(self, timeouts)).await.ok_or_else(late)??;
            answer = egress.exchange(pool, to, clock, || signed.request(ready, Some(token.value()))).await?;
        }
        answer.body.keep(place);
        Ok(answer)
    }
}

/// What a receiver was shown in `Authorization`: all of it, and what stands behind the scheme.
fn shown(authorization: &HeaderValue) -> impl Iterator<Item = &str> {
    let text = authorization.to_str().unwrap_or_default();
    [text, text.split_once(' ').map_or("", |(_, it)| it)].into_iter()
}

pub(in crate::egress) fn unsigned() -> Failed {
    Failed::new(Failure::WebhookUnknown, "no secret of the webhook is held here, so that nothing can be signed")
}

enum End {
    Whole,
    /// There is more than is kept.
    Cut,
    Broken(String),
}

/// As much of an answer's body as is kept.
async fn beginning(mut body: AnswerBody) -> (Vec<u8>, End) {
    let mut kept = Vec::new();
    loop {
        match body.frame().await {
            None => return (kept, End::Whole),
            Some(Err(e)) => return (kept, End::Broken(failure::chain(&e))),
            Some(Ok(frame)) => {
                let Ok(bytes) = frame.into_data() else { continue };
                let room = RESPONSE_BODY_BYTES_MAX - kept.len();
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
                if bytes.len() > room {
                    return (kept, End::Cut);
                }
            }
        }
    }
}

/// A body that is read whole, of `bytes_max` at most.
pub(in crate::egress) async fn whole(mut body: AnswerBody, bytes_max: usize) -> Result<Bytes, String> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.map_err(|e| failure::chain(&e))?.into_data() else { continue };
        if all.len() + bytes.len() > bytes_max {
            return Err(format!("the answer is longer than {bytes_max} bytes"));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.into())
}

impl Outcome {
    /// As control is told; `number` names the attempt within its stream.
    pub fn into_result(self, number: u64) -> v1::Result {
        let address = match self.address {
            Some(IpAddr::V4(v4)) => v4.octets().to_vec(),
            Some(IpAddr::V6(v6)) => v6.octets().to_vec(),
            None => Vec::new(),
        };
        v1::Result {
            number,
            started_at: self.started_at,
            duration_us: u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX),
            status: self.status.map(u32::from),
            failure: self.failure.unwrap_or(Failure::Unspecified).into(),
            reason: self.reason,
            address,
            retry_after_ms: self.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            request_headers: self.request_headers,
            response_headers: self.response_headers,
            response_body: self.response_body,
            response_body_cut: self.response_body_cut,
        }
    }
}
