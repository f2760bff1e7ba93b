//! A client's session with our hand in it, as Pingora sees it: its body is the one that has been read, and the head
//! of its answer may be kept back until the body begins. All else is the client's own session.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::{
    HeaderMap,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use pingora::{
    Error, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    protocols::{
        Digest,
        http::{
            HttpTask, ServerSession,
            custom::{CustomMessageWrite, server::Session as Custom},
        },
        l4::socket::SocketAddr,
    },
};

use super::whole_body::Loan;

/// A session that nobody uses, in the place of one that is elsewhere.
pub(super) fn nobody() -> ServerSession {
    ServerSession::new_custom(Box::new(()))
}

pub(super) struct Lent {
    inner: ServerSession,
    /// Where it has been read already.
    body: Option<Bytes>,
    loan: Arc<Loan>,
    /// What is kept back.
    head: Option<Box<ResponseHeader>>,
}

impl Lent {
    pub(super) fn new(inner: ServerSession, body: Option<Bytes>, loan: Arc<Loan>) -> Self {
        Self { inner, body, loan, head: None }
    }

    pub(super) fn into_session(self) -> ServerSession {
        ServerSession::new_custom(Box::new(self))
    }

    fn keeps(&self, head: &ResponseHeader) -> bool {
        self.loan.holds_head() && !head.status.is_informational()
    }

    /// The head that was kept back, with the body's length where that is known.
    fn released(&mut self, length: Option<usize>) -> Result<Option<Box<ResponseHeader>>> {
        let Some(mut head) = self.head.take() else { return Ok(None) };
        if let Some(length) = length {
            head.remove_header(&TRANSFER_ENCODING);
            head.insert_header(CONTENT_LENGTH, length)?;
        }
        Ok(Some(head))
    }

    /// What is to be written now.
    fn kept(&mut self, tasks: Vec<HttpTask>) -> Result<Vec<HttpTask>> {
        let mut now = Vec::with_capacity(tasks.len() + 1);
        for task in tasks {
            let released = match &task {
                HttpTask::Header(head, false) if self.keeps(head) => {
                    if let HttpTask::Header(head, _) = task {
                        self.head = Some(head);
                    }
                    continue;
                }
                HttpTask::Body(data, end) => {
                    let length = data.as_ref().map_or(0, Bytes::len);
                    if length == 0 && !end {
                        continue;
                    }
                    self.released(end.then_some(length))?
                }
                HttpTask::Done => self.released(Some(0))?,
                HttpTask::Trailer(_) if self.head.is_some() => {
                    return Error::e_explain(ErrorType::InternalError, "a body that was kept back has not come");
                }
                HttpTask::Trailer(_) | HttpTask::UpgradedBody(..) => self.released(None)?,
                // Nothing has been said yet, and something else is going to be.
                HttpTask::Failed(_) | HttpTask::Header(..) => {
                    self.head = None;
                    None
                }
            };
            now.extend(released.map(|head| HttpTask::Header(head, false)));
            now.push(task);
        }
        Ok(now)
    }
}

#[async_trait]
impl Custom for Lent {
    fn req_header(&self) -> &RequestHeader {
        self.inner.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        if self.body.is_some() { Ok(None) } else { self.inner.read_request_body().await }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.inner.drain_request_body().await
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, _: bool) -> Result<()> {
        if self.keeps(&head) {
            self.head = Some(head);
            return Ok(());
        }
        self.head = None;
        self.inner.write_response_header(head).await
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        Custom::write_response_header(self, Box::new(head.clone()), end).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        if data.is_empty() && !end {
            return Ok(());
        }
        if let Some(head) = self.released(end.then_some(data.len()))? {
            self.inner.write_response_header(head).await?;
        }
        self.inner.write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if let Some(head) = self.released(None)? {
            self.inner.write_response_header(head).await?;
        }
        self.inner.write_response_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let tasks = self.kept(tasks)?;
        if tasks.is_empty() {
            return Ok(false);
        }
        self.inner.response_duplex_vec(tasks).await
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.inner.get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.inner.request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner.response_written()
    }

    async fn shutdown(&mut self, _: u32, _: &str) {
        self.inner.shutdown().await;
    }

    fn is_body_done(&mut self) -> bool {
        self.body.is_some() || self.inner.is_body_done()
    }

    async fn finish(&mut self) -> Result<()> {
        if let Some(head) = self.released(Some(0))? {
            self.inner.write_response_header(head).await?;
        }
        self.inner.finish_body().await
    }

    fn is_body_empty(&mut self) -> bool {
        match &self.body {
            Some(body) => body.is_empty(),
            None => self.inner.is_body_empty(),
        }
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        self.inner.read_body_or_idle(no_body_expected || self.body.is_some()).await
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner.to_h1_raw()
    }

    fn enable_retry_buffering(&mut self) {
        if self.body.is_none() {
            self.inner.enable_retry_buffering();
        }
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.body.is_none() && self.inner.retry_buffer_truncated()
    }

    /// A body that has been read is what every attempt is sent, the first too.
    fn get_retry_buffer(&self) -> Option<Bytes> {
        match &self.body {
            Some(body) => Some(body.clone()).filter(|body| !body.is_empty()),
            None => self.inner.get_retry_buffer(),
        }
    }

    fn is_upgrade_req(&self) -> bool {
        self.inner.is_upgrade_req()
    }

    fn was_upgraded(&self) -> bool {
        self.inner.was_upgraded()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Error::e_explain(ErrorType::InternalError, "no such reader was taken")
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Error::e_explain(ErrorType::InternalError, "no such writer was taken")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.loan.home.lock() = Some(std::mem::replace(&mut self.inner, nobody()));
    }
}
