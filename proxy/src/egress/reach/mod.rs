//! One request to a receiver and the head of its answer, over a connection that rested ([`pool`]) or a new one
//! ([`connect`]), to where its name leads ([`resolve`]).

pub(in crate::egress) mod connect;
pub(in crate::egress) mod pool;
pub(in crate::egress) mod resolve;

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use clearway_config::egress::v1::Failure;
use http::{Request, Response, response};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use self::{
    connect::Connection,
    pool::{Kind, Pool},
};
use super::{
    Egress,
    places::Place,
    post::failure::Failed,
    receiver::{target::Target, trust::Identity},
};
use crate::snapshot::webhooks::Timeouts;

/// The one timer of an attempt.
#[derive(Debug)]
pub(in crate::egress) struct Clock {
    sleep: Pin<Box<Sleep>>,
    due: Instant,
    timeouts: Timeouts,
}

impl Clock {
    pub(in crate::egress) fn start(timeouts: Timeouts) -> Self {
        let due = Instant::now() + timeouts.total;
        Self { sleep: Box::pin(sleep_until(due)), due, timeouts }
    }

    fn left(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// `work`, or `None` where it takes longer than `within`, or than is left of the whole attempt.
    pub(in crate::egress) async fn bound<T>(&mut self, within: Duration, work: impl Future<Output = T>) -> Option<T> {
        self.sleep.as_mut().reset(self.due.min(Instant::now() + within));
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.sleep.as_mut() => None,
        }
    }

    fn late(&self, failure: Failure, within: Duration) -> Failed {
        if self.left().is_zero() {
            return Failed::new(Failure::TotalTimeout, format!("the attempt took longer than {:?}", self.timeouts.total));
        }
        Failed::new(failure, format!("the answer did not begin within {within:?}"))
    }
}

/// An answer whose body has not been read.
#[derive(Debug)]
pub(in crate::egress) struct Answer {
    pub(in crate::egress) head: response::Parts,
    pub(in crate::egress) body: AnswerBody,
    /// Who gave it.
    pub(in crate::egress) address: IpAddr,
}

/// The body of an answer; at its end the connection goes back to the pool. It ends with an error when the attempt's
/// time is over.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    incoming: Incoming,
    clock: Clock,
    /// Taken at the end.
    after: Option<After>,
    place: Option<Place>,
}

#[derive(Debug)]
struct After {
    pool: Arc<Pool>,
    kind: Kind,
    connection: Connection,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerBroken {
    #[error("the attempt's time was over before the answer's end")]
    Late,
    #[error("the answer broke off")]
    Broken(#[source] hyper::Error),
}

impl Egress {
    /// Sends a request, which `request` makes anew for each time that takes. A connection that its receiver has
    /// closed while it rested is no answer: then a new one is opened at once, and once.
    pub(in crate::egress) async fn exchange(
        &self,
        pool: &Arc<Pool>,
        (target, identity): (&Target, Option<&Identity>),
        mut clock: Clock,
        request: impl Fn() -> Request<Full<Bytes>>,
    ) -> Result<Answer, Failed> {
        let kind = Kind { origin: target.origin.clone(), identity: identity.map(Identity::print) };
        self.guard.check_origin(target.origin.https, target.origin.port)?;
        if let Some(mut rested) = pool.take(&kind, std::time::Instant::now(), &self.guard) {
            match send(&mut rested, &mut clock, request()).await {
                Ok(response) => return Ok(answered(response, rested, pool, kind, clock)),
                Err(Unanswered::Failed(failed)) => return Err(failed),
                Err(Unanswered::Stale) => {}
            }
        }
        let within = clock.timeouts.connect;
        let mut connection = match clock.bound(within, self.connect(target, identity, within)).await {
            Some(connected) => connected?,
            None if clock.left().is_zero() => return Err(clock.late(Failure::TotalTimeout, within)),
            None => return Err(Failed::new(Failure::ConnectTimeout, format!("connecting took longer than {within:?}"))),
        };
        match send(&mut connection, &mut clock, request()).await {
            Ok(response) => Ok(answered(response, connection, pool, kind, clock)),
            Err(Unanswered::Failed(failed)) => Err(failed),
            Err(Unanswered::Stale) => {
                Err(Failed::new(Failure::Broken, "the connection was closed before an answer came").at(connection.address))
            }
        }
    }
}

/// Why a connection brought no answer.
enum Unanswered {
    /// It ended before the first byte of one.
    Stale,
    Failed(Failed),
}

async fn send(
    connection: &mut Connection,
    clock: &mut Clock,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Unanswered> {
    let (within, address) = (clock.timeouts.first_byte, connection.address);
    let sender = &mut connection.sender;
    let exchanged = async {
        sender.ready().await?;
        sender.send_request(request).await
    };
    match clock.bound(within, exchanged).await {
        Some(Ok(response)) => Ok(response),
        Some(Err(e)) if e.is_parse() || e.is_user() => Err(Unanswered::Failed(Failed::of(Failure::Broken, &e).at(address))),
        Some(Err(_)) => Err(Unanswered::Stale),
        None => Err(Unanswered::Failed(clock.late(Failure::FirstByteTimeout, within).at(address))),
    }
}

fn answered(response: Response<Incoming>, connection: Connection, pool: &Arc<Pool>, kind: Kind, mut clock: Clock) -> Answer {
    let (head, incoming) = response.into_parts();
    let address = connection.address;
    let due = clock.due;
    clock.sleep.as_mut().reset(due);
    let after = Some(After { pool: pool.clone(), kind, connection });
    let mut body = AnswerBody { incoming, clock, after, place: None };
    if body.incoming.is_end_stream() {
        body.ended();
    }
    Answer { head, body, address }
}

impl AnswerBody {
    /// The attempt goes on for as long as the answer comes in.
    pub(in crate::egress) fn keep(&mut self, place: Place) {
        self.place = Some(place).filter(|_| self.after.is_some());
    }

    /// Reads no more of it; what is left of the attempt's time is for another request.
    pub(in crate::egress) fn give_up(self) -> Clock {
        self.clock
    }

    fn ended(&mut self) {
        self.place = None;
        if let Some(After { pool, kind, connection }) = self.after.take() {
            pool.give_back(kind, connection, std::time::Instant::now());
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerBroken>>> {
        let this = &mut *self;
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if this.incoming.is_end_stream() {
                    this.ended();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(e))) => {
                // The connection with it.
                this.after = None;
                Poll::Ready(Some(Err(AnswerBroken::Broken(e))))
            }
            Poll::Ready(None) => {
                this.ended();
                Poll::Ready(None)
            }
            Poll::Pending => this.clock.sleep.as_mut().poll(cx).map(|()| {
                this.after = None;
                Some(Err(AnswerBroken::Late))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
