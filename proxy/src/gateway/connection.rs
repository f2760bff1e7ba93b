//! One client's connection over HTTP/1: its requests, one after the other, each on the way it needs.
//!
//! Heads are read here. A plain request takes the short way ([`super::fast`]); any other goes to Pingora with
//! every byte that was read, on the same connection, which comes back when it has been answered. What
//! is no HTTP/1 head is refused.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Instant,
};

use bytes::BytesMut;
use clearway_config::ErrorCode;
use http::Method;
use pingora::{
    apps::HttpServerApp as _,
    protocols::{Stream, http::ServerSession},
    proxy::HttpProxy,
};
use tokio::sync::{Notify, futures::Notified, watch};

use super::{
    Gateway, State, answer,
    baton::passed,
    body::Body,
    client::Client,
    downstream::{Downstream, Frame},
    exchange::Exchange,
    fast::{
        Fast, Served,
        head::{self, Head, Kind},
    },
    gate::Gate,
    handed,
    moved::hand_on,
    refuse::BODY_LINGERED_MAX,
    server::{Counted, Open},
};
use crate::{egress::listener as egress, metrics::Refused, upgrade::message::Begun};

/// A head of more bytes than this is one of those that there is only so much room for.
const LONG_HEAD_BYTES: usize = 8 * 1024;

/// What the connections of one worker share.
pub(super) struct Service {
    pub(super) state: Arc<State>,
    pub(super) fast: Fast,
    pub(super) proxy: Arc<HttpProxy<Gateway>>,
    pub(super) egress: Arc<egress::Listener>,
    /// True: answer what comes with `Connection: close`.
    pub(super) closing: watch::Receiver<bool>,
    /// Let go of connections without a request.
    pub(super) hang_up: Arc<Notify>,
    /// Requests that Pingora has and that are not decided.
    pub(super) undecided: Arc<Open>,
    /// True, for a connection whose next answer is its last.
    pub(super) parting: watch::Receiver<bool>,
}

/// What a connection brings.
enum Next {
    Request(Kind),
    Unreadable(ErrorCode),
    /// Nothing more, or not in time.
    End,
    /// It was asked for while there is nothing.
    HungUp,
}

impl Service {
    /// Serves a connection to its end.
    pub(super) async fn serve(&self, mut client: Client) {
        let mut head = Head::default();
        let mut hang_up = pin!(self.hang_up.notified());
        let mut stays = false;
        loop {
            let brought = next(&mut client, &mut head, &self.state.gate, hang_up.as_mut()).await;
            // From here to the decision nothing is waited for, but in Pingora's hands.
            if matches!(brought, Next::Request(_))
                && let Some(to) = self.state.baton.settled().await
            {
                if matches!(brought, Next::Request(Kind::Plain)) {
                    put_back(&mut client.ahead, &head);
                }
                return hand_on(client, Begun::Http1, to).await;
            }
            let pingoras = match brought {
                Next::HungUp => match self.state.baton.successor() {
                    Some(to) if client.wire.socket().is_some() => return hand_on(client, Begun::Http1, to).await,
                    // It cannot go without its next request. That is waited for, until connections are hung up again.
                    Some(_) if !stays => {
                        stays = true;
                        hang_up.set(self.hang_up.notified());
                        continue;
                    }
                    Some(_) | None => return,
                },
                Next::Request(Kind::Plain) => {
                    if let Some(answer) = self.challenge(&client, &head) {
                        if client.write_all(answer.as_bytes()).await.is_ok() {
                            client.close(0).await;
                        }
                        return;
                    }
                    match self.fast.serve(&mut client, &head).await {
                        Served::Kept => continue,
                        Served::Ended { unread } => return client.close(if unread { BODY_LINGERED_MAX } else { 0 }).await,
                        Served::HandOver(exchange) => {
                            let frame = Frame::new(head.bytes.len(), Some(Body::Length(head.body_bytes())));
                            put_back(&mut client.ahead, &head);
                            self.by_pingora(client, frame, Some(exchange)).await
                        }
                    }
                }
                Next::Request(Kind::Unusual { head_bytes, body }) => {
                    self.by_pingora(client, Frame::new(head_bytes, body), None).await
                }
                Next::Unreadable(code) => {
                    self.state.metrics.unreadable(code);
                    if client.write_all(&answer::unreadable(code)).await.is_ok() {
                        client.close(BODY_LINGERED_MAX).await;
                    }
                    return;
                }
                Next::End => return,
            };
            match pingoras {
                Some(returned) => client = returned,
                None => return,
            }
        }
    }

    /// What a certificate authority is answered that looks here, unencrypted, for what it has asked of us. It is
    /// nobody's request: no route leads there and no key opens it.
    fn challenge(&self, client: &Client, head: &Head) -> Option<String> {
        let tls = self.state.tls.as_ref().filter(|_| client.peer.tls.is_none() && head.parts.method == Method::GET)?;
        let target = std::str::from_utf8(super::head::target(&head.bytes)).ok()?;
        let answer = tls.challenges().answer(target)?;
        Some(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
            answer.len()
        ))
    }

    /// A request goes to Pingora undecided; nothing may have been waited for since the baton was asked.
    pub(super) fn pass(&self) -> Counted {
        Counted::new(self.undecided.clone())
    }

    /// Serves a connection that speaks HTTP/2, or lets the successor do so.
    pub(super) async fn begin_h2(self: &Arc<Self>, client: Client) {
        match self.state.baton.begin_h2().await {
            Ok(unfinished) => self.serve_h2(client.wire, client.peer, unfinished).await,
            Err(to) => hand_on(client, Begun::Http2, to).await,
        }
    }

    /// Serves one request by Pingora. The connection comes back if it can bring another.
    async fn by_pingora(&self, client: Client, frame: Frame, decided: Option<Box<Exchange>>) -> Option<Client> {
        let parting = client.peer.parting;
        let stream: Stream = Box::new(Downstream::new(client, frame, self.state.clone()));
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(Some(self.state.limits.idle_timeout.as_secs()));
        session.set_read_timeout(Some(self.state.limits.body_timeout));
        session.set_write_timeout(Some(self.state.limits.write_timeout));
        let closing = if parting { &self.parting } else { &self.closing };
        let served = passed(self.pass(), handed::along(decided, self.proxy.process_new_http(session, closing)));
        let (stream, _) = served.await?.consume();
        stream.into_any().downcast::<Downstream>().ok()?.into_client().await
    }
}

/// Waits for a head. The connection is let go of where none has begun.
async fn next(client: &mut Client, head: &mut Head, gate: &Gate, mut hang_up: Pin<&mut Notified<'_>>) -> Next {
    head.clear();
    let limits = client.limits;
    let (mut looked, mut room) = (0, None);
    loop {
        let here = client.ahead.len();
        if here > 0 && (looked == 0 || here >= limits.head_bytes() || head::may_end(&client.ahead, looked)) {
            match head.take(&mut client.ahead, &limits) {
                Ok(None) => {}
                Ok(Some(kind)) => return Next::Request(kind),
                Err(code) => return Next::Unreadable(code),
            }
        }
        if looked == 0 {
            client.deadline.set(Instant::now() + if here == 0 { limits.idle_timeout } else { limits.head_timeout });
        }
        if here > LONG_HEAD_BYTES && room.is_none() {
            room = gate.long_head();
            if room.is_none() {
                gate.turn_away(None, Refused::Memory);
                return Next::Unreadable(ErrorCode::GatewayOverloaded);
            }
        }
        looked = here;
        let more = poll_fn(|cx| match client.poll_ahead(cx) {
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending if here == 0 && hang_up.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Err(io::ErrorKind::Interrupted.into()))
            }
            Poll::Pending => client.deadline.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        });
        match more.await {
            Ok(1..) => {}
            Err(e) if e.kind() == io::ErrorKind::TimedOut && here > 0 => return Next::Unreadable(ErrorCode::RequestTimeout),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Next::HungUp,
            Ok(0) | Err(_) => return Next::End,
        }
    }
}

/// Puts a head that has been taken off back in front of what follows it.
fn put_back(ahead: &mut BytesMut, head: &Head) {
    let mut whole = BytesMut::with_capacity(head.bytes.len() + ahead.len());
    whole.extend_from_slice(&head.bytes);
    whole.extend_from_slice(ahead);
    *ahead = whole;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clearway_config::settings::process::LimitSettings;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::{super::arrival::Peer, *};
    use crate::metrics::Metrics;

    fn gate() -> Gate {
        Gate::new(&LimitSettings::default(), &[], Arc::new(Metrics::new()))
    }

    fn connection() -> (DuplexStream, Client) {
        let (theirs, ours) = duplex(1024);
        (
            theirs,
            Client::new(
                Box::new(ours),
                Peer { address: [127, 0, 0, 1].into(), tls: None, parting: false },
                LimitSettings::default(),
            ),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_dawdles_is_given_up_however_steadily_it_comes() {
        let ((mut theirs, mut client), hang_up) = (connection(), Notify::new());
        let began = tokio::time::Instant::now();
        let dawdle = async {
            for byte in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
                tokio::time::sleep(Duration::from_secs(1)).await;
                theirs.write_all(&[*byte]).await?;
            }
            io::Result::Ok(())
        };
        let (mut head, gate, hang_up) = (Head::default(), gate(), pin!(hang_up.notified()));
        tokio::select! {
            next = next(&mut client, &mut head, &gate, hang_up) => assert!(matches!(next, Next::Unreadable(ErrorCode::RequestTimeout))),
            _ = dawdle => panic!("it goes on for ever"),
        }
        assert!(began.elapsed() < LimitSettings::default().head_timeout + Duration::from_secs(3), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_let_go_of_when_asked_and_after_a_while() {
        let ((_theirs, mut client), hang_up) = (connection(), Notify::new());
        let (mut head, gate) = (Head::default(), gate());
        let began = tokio::time::Instant::now();
        assert!(matches!(next(&mut client, &mut head, &gate, pin!(hang_up.notified())).await, Next::End));
        assert!(began.elapsed() >= LimitSettings::default().idle_timeout - Duration::from_secs(1));
        let told = hang_up.notified();
        hang_up.notify_waiters();
        let began = tokio::time::Instant::now();
        assert!(matches!(next(&mut client, &mut head, &gate, pin!(told)).await, Next::HungUp));
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}
