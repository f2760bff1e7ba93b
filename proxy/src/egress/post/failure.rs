//! Why an attempt came to no answer.

use std::net::IpAddr;

use clearway_config::{ErrorCode, egress::v1::Failure};
use clearway_filters::address::Refused;

/// Characters of a reason at most.
const REASON_CHARS_MAX: usize = 200;

/// What went wrong, with a line for people that holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) reason: String,
    /// Who was connected to, where anybody was.
    pub(crate) address: Option<IpAddr>,
}

impl Failed {
    pub(crate) fn new(failure: Failure, reason: impl Into<String>) -> Self {
        let mut reason: String = reason.into();
        if let Some((end, _)) = reason.char_indices().nth(REASON_CHARS_MAX) {
            reason.truncate(end);
        }
        Self { failure, reason: reason.replace(|c: char| c.is_control(), " "), address: None }
    }

    pub(crate) fn of(failure: Failure, error: &dyn std::error::Error) -> Self {
        Self::new(failure, chain(error))
    }

    pub(crate) fn at(self, address: IpAddr) -> Self {
        Self { address: Some(address), ..self }
    }

    /// What whoever posts by the listener is answered.
    pub(crate) fn code(&self) -> ErrorCode {
        match self.failure {
            Failure::Unspecified => ErrorCode::InternalError,
            Failure::WebhookUnknown => ErrorCode::WebhookUnsigned,
            Failure::WebhookInactive => ErrorCode::WebhookInactive,
            Failure::Dns => ErrorCode::ReceiverUnresolved,
            Failure::AddressRefused => ErrorCode::ReceiverAddressRefused,
            Failure::Connect => ErrorCode::ReceiverUnreachable,
            Failure::Tls => ErrorCode::ReceiverTlsFailed,
            Failure::ConnectTimeout | Failure::FirstByteTimeout | Failure::TotalTimeout => ErrorCode::ReceiverTimeout,
            Failure::Broken => ErrorCode::ReceiverBroken,
            Failure::Oauth => ErrorCode::ReceiverTokenUnavailable,
            Failure::Overloaded => ErrorCode::EgressOverloaded,
        }
    }
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::new(Failure::AddressRefused, refused.to_string())
    }
}

/// An error with what caused it, in one line.
pub(in crate::egress) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
