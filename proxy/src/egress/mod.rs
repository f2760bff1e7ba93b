//! The way out: webhooks are signed here and posted to their receivers.
//!
//! One attempt is one [`Poster::post`]: the message is signed by every live secret of the webhook, the receiver's name
//! is resolved, the address that is connected to is vetted ([`Guard`]), and what came of it is an [`Outcome`], whatever
//! that was. No redirect is followed. Connections are kept for the next attempt ([`reach`]); one that its receiver has
//! closed meanwhile is no failed attempt, but one that is made again at once.
//!
//! What is to be posted comes from the control plane by its [`stream`], or from an operator's own sender by the
//! [`listener`]. The secrets come from neither: the snapshot holds them. Whether a failed attempt is made again later is
//! not decided here.

pub(crate) mod listener;
mod places;
mod post;
mod reach;
mod receiver;
pub(crate) mod stream;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

use clearway_config::settings::process::EgressSettings;
use clearway_filters::address::Guard;

use places::Places;
use reach::resolve::Resolver;
use receiver::trust::Trust;

pub use post::{Outcome, Poster, message::Message};
pub(crate) use receiver::Endpoint;

/// Why there is no way out.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    #[error("egress.ca_file {file}: {why}")]
    Authorities { file: PathBuf, why: String },
    #[error("TLS to receivers cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// What all attempts share.
#[derive(Debug)]
pub struct Egress {
    guard: Guard,
    resolver: Resolver,
    trust: Trust,
    settings: EgressSettings,
    places: Arc<Places>,
}

impl Egress {
    /// Reads the authorities that receivers are believed by.
    pub fn new(settings: &EgressSettings) -> Result<Self, EgressError> {
        Ok(Self {
            guard: Guard::new(settings),
            resolver: Resolver::of_the_system(),
            trust: Trust::load(settings.ca_file.as_deref())?,
            settings: settings.clone(),
            places: Arc::new(Places::new(settings)),
        })
    }

    /// Whether an operator's own senders are spoken to by TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.settings.tls
    }
}
