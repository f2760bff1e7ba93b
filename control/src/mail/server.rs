//! The mail server, by SMTP (RFC 5321), and what it said.

use std::time::Duration;

use clearway_config::settings::MailSettings;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor, message::Mailbox, message::header::ContentType,
    transport::smtp::authentication::Credentials,
};

use super::store::Due;

/// The environment variable that holds the mail server's password.
pub const PASSWORD: &str = "CLEARWAY_SMTP_PASSWORD";
/// How long the server may take for each step.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why mails cannot be sent by these settings, in one line. It never holds the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("mail.smtp_url: {0}")]
    Url(String),
    #[error("mail.from: {0}")]
    From(String),
}

/// Whom mails are handed to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// What became of a mail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    /// Trying again may help.
    Later(String),
    Never(String),
}

impl Server {
    pub(super) fn new(settings: &MailSettings, password: Option<&str>) -> Result<Self, MailError> {
        let url = |why: &dyn std::fmt::Display| MailError::Url(why.to_string());
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&settings.smtp_url).map_err(|why| url(&why))?;
        if let Some(password) = password {
            if settings.user.is_empty() {
                return Err(MailError::Url(format!("{PASSWORD} is set, but mail.user is not")));
            }
            builder = builder.credentials(Credentials::new(settings.user.clone(), password.to_owned()));
        }
        let from = settings.from.parse().map_err(|why: lettre::address::AddressError| MailError::From(why.to_string()))?;
        Ok(Self { transport: builder.timeout(Some(TIMEOUT)).build(), from })
    }

    pub(super) async fn hand_over(&self, mail: &Due) -> Outcome {
        let message = match self.message(mail) {
            Ok(message) => message,
            Err(why) => return Outcome::Never(why),
        };
        match self.transport.send(message).await {
            Ok(_) => Outcome::Taken,
            Err(why) if why.is_permanent() => Outcome::Never(why.to_string()),
            Err(why) => Outcome::Later(why.to_string()),
        }
    }

    /// The id is the same at every try, so that a receiver can tell a repetition.
    fn message(&self, mail: &Due) -> Result<Message, String> {
        let to: Mailbox = mail.recipient.parse().map_err(|why: lettre::address::AddressError| why.to_string())?;
        let id = format!("<{}@{}>", mail.id, self.from.email.domain());
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(mail.subject.clone())
            .message_id(Some(id))
            .header(ContentType::TEXT_PLAIN)
            .body(mail.body.clone())
            .map_err(|why| why.to_string())
    }
}
