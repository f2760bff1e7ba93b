//! `[mail]`: the mail server that the control plane hands its mails to.

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailSettings {
    /// `smtps://host:465`, or `smtp://host:587?tls=required` for STARTTLS; empty: mails stay in the local mailbox.
    pub smtp_url: String,
    /// Whom to log in as. The password is the environment's `CLEARWAY_SMTP_PASSWORD`.
    pub user: String,
    /// Whom mails are from.
    pub from: String,
}

impl Default for MailSettings {
    fn default() -> Self {
        Self { smtp_url: String::new(), user: String::new(), from: "Clearway <clearway@localhost>".into() }
    }
}

impl MailSettings {
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let url = &self.smtp_url;
        if !(url.is_empty() || url.starts_with("smtp://") || url.starts_with("smtps://")) {
            return Some(("mail.smtp_url", "must begin with smtp:// or smtps://"));
        }
        (!self.from.contains('@')).then_some(("mail.from", "must be an address, as in Clearway <no-reply@example.com>"))
    }
}
