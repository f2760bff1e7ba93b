//! Mail on its way out. A mail is written into the outbox in the transaction of what it speaks of, and handed to the
//! mail server by [`deliver_until`], again and again until it takes it or says that it never will.
//!
//! Without a mail server in the settings mails stay in the local [`mailbox_store`], which the operator can read.
//!
//! Plumbing: it does not know what mails are about, and imports no feature.

mod deliver;
mod http;
mod mailbox_store;
mod server;
mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use clearway_config::{MailId, settings::MailSettings};

pub use deliver::{deliver_once, deliver_until};
pub use http::routes;
pub use mailbox_store::sweep;
pub use server::{MailError, PASSWORD, Server};

use crate::{
    db::{self, On, Signal, Tx},
    world::World,
};

/// Raised by every commit that holds a mail.
const SENT: Signal = Signal("mails");
/// Characters in a subject.
const SUBJECT_CHARS_MAX: usize = 200;
/// Bytes in a mail's text.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A mail that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Whom it goes to: one address.
    pub to: String,
    /// One line; what is beyond 200 characters is cut.
    pub subject: String,
    /// Plain text; what is beyond 64 KiB is cut.
    pub body: String,
}

/// Where mails are put. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    server: Option<Server>,
}

impl Outbox {
    /// `password` as in [`PASSWORD`]; it comes before one in the settings' URL.
    pub fn new(settings: &MailSettings, password: Option<&str>) -> Result<Self, MailError> {
        let server = (!settings.smtp_url.is_empty()).then(|| Server::new(settings, password)).transpose()?;
        Ok(Self { server })
    }

    /// Sends a mail with the commit of `tx`, or not at all.
    pub async fn send(&self, tx: &mut Tx, world: &World, mail: &Mail) -> db::Result<()> {
        let subject: String =
            mail.subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUBJECT_CHARS_MAX).collect();
        let mut body = mail.body.clone();
        body.truncate(body.floor_char_boundary(BODY_BYTES_MAX));
        let (id, now_ms) = (world.id(MailId::new), world.now_ms());
        if self.server.is_none() {
            tracing::info!(mail.id = %id, "a mail stays in the local mailbox: no mail server is set");
            let kept = mailbox_store::Kept { id, to: mail.to.clone(), subject, body, created_at: now_ms };
            return mailbox_store::insert(tx, &kept).await;
        }
        store::insert(tx, &id.to_string(), &mail.to, &subject, &body, now_ms).await?;
        tx.announce(SENT);
        Ok(())
    }
}

/// Forgets the mails to an address, handed to a server or not.
pub async fn forget(tx: &mut Tx, recipient: &str) -> db::Result<()> {
    store::forget(tx, recipient).await?;
    mailbox_store::forget(tx, recipient).await
}

/// What waits for an address or stays in the local mailbox: subjects, and since when, newest first.
pub async fn to<'c>(on: impl On<'c>, recipient: &str, max: i64) -> db::Result<Vec<(String, i64)>> {
    store::to(on, recipient, max).await
}
