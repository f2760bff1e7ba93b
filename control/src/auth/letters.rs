//! The mails that go to people about their signing in, in plain text. A token stands in a link behind `#`, which no
//! server's log sees, and once more by itself for whoever has no portal.

use super::Once;
use crate::mail::Mail;

/// Writes mails; the links in them begin with the public URL.
#[derive(Debug, Clone, Copy)]
pub struct Letters<'a> {
    /// Where people find Clearway, as `control.public_url` says.
    pub public_url: &'a str,
}

impl Letters<'_> {
    fn link(&self, page: &str, token: &Once) -> String {
        let base = self.public_url.trim_end_matches('/');
        let token = token.reveal();
        format!("    {base}/portal/{page}#token={token}\n\nor give this code where you are asked for it:\n\n    {token}\n")
    }

    pub(super) fn verify(&self, to: &str, token: &Once) -> Mail {
        let link = self.link("verify-email", token);
        mail(
            to,
            "Confirm your address",
            format!(
                "Somebody, hopefully you, has registered with this address. To confirm that it is yours, open\n\n{link}\n\
             Both are good for 24 hours. If this was not you, do nothing: without it there is no account.\n"
            ),
        )
    }

    pub(super) fn registered_already(&self, to: &str) -> Mail {
        let base = self.public_url.trim_end_matches('/');
        mail(
            to,
            "You have an account already",
            format!(
                "Somebody, perhaps you, has tried to register with this address, which has an account already: nothing was\n\
             changed. Sign in at {base}/portal/sign-in, or have your password reset there if it is lost.\n"
            ),
        )
    }

    pub(super) fn reset(&self, to: &str, token: &Once) -> Mail {
        let link = self.link("reset-password", token);
        mail(
            to,
            "Reset your password",
            format!(
                "Somebody, hopefully you, has asked to set a new password. To do so, open\n\n{link}\n\
             Both are good once, for an hour. If this was not you, do nothing: your password stays.\n"
            ),
        )
    }

    pub(super) fn sign_in(&self, to: &str, token: &Once) -> Mail {
        let link = self.link("sign-in", token);
        mail(
            to,
            "Sign in",
            format!(
                "To sign in without a password, open\n\n{link}\n\
             Both are good once, for 15 minutes. Whoever has them signs in as you: pass them on to nobody. If you have not\n\
             asked for this, do nothing.\n"
            ),
        )
    }

    pub fn password_changed(&self, to: &str) -> Mail {
        let base = self.public_url.trim_end_matches('/');
        mail(
            to,
            "Your password was changed",
            format!(
                "The password of your account was changed, and whoever was signed in elsewhere is no longer. If this was not\n\
             you, have it reset at {base}/portal/reset-password at once.\n"
            ),
        )
    }

    pub fn second_factor_changed(&self, to: &str, what: &str) -> Mail {
        let base = self.public_url.trim_end_matches('/');
        mail(
            to,
            "Your second factor was changed",
            format!(
                "{what} If this was not you, somebody has your password: have it reset at {base}/portal/reset-password at\n\
             once.\n"
            ),
        )
    }

    pub fn identity_linked(&self, to: &str, provider: &str) -> Mail {
        let base = self.public_url.trim_end_matches('/');
        mail(
            to,
            "Another way to sign in",
            format!(
                "Whoever signs in at {provider} as you have just done signs in to your account now. If this was not you,\n\
                 somebody has your password: have it reset at {base}/portal/reset-password at once, and take the way away\n\
                 again.\n"
            ),
        )
    }

    pub fn identity_unlinked(&self, to: &str, provider: &str) -> Mail {
        let base = self.public_url.trim_end_matches('/');
        mail(
            to,
            "A way to sign in was taken away",
            format!(
                "Your account cannot be signed in to by {provider} any more. If this was not you, end your sessions and have\n\
                 your password reset at {base}/portal/reset-password.\n"
            ),
        )
    }

    pub fn impersonated(&self, to: &str, reason: &str, until: &str) -> Mail {
        let base = self.public_url.trim_end_matches('/');
        mail(
            to,
            "Somebody acts for you",
            format!(
                "Whoever runs {base} acts in your account until {until}, as you would, to help or to look into\n\
             something. The reason given: {reason}\n\nWhat is done is in your account's audit log.\n"
            ),
        )
    }

    pub fn erased(&self, to: &str) -> Mail {
        let base = self.public_url.trim_end_matches('/');
        let body = format!("What {base} had stored of you was erased, as you or whoever runs the service has asked for.\n");
        mail(to, "You were erased", body)
    }

    pub fn change_email(&self, to: &str, token: &Once) -> Mail {
        let link = self.link("change-email", token);
        mail(
            to,
            "Confirm your new address",
            format!(
                "Somebody, hopefully you, wants to use this address for an account. To confirm that it is yours, open\n\n{link}\n\
             Both are good once, for an hour, for whoever is signed in to that account. If this was not you, do nothing.\n"
            ),
        )
    }

    pub fn email_changed(&self, to: &str, new: &str) -> Mail {
        mail(
            to,
            "Your address was changed",
            format!(
                "The address of your account was changed to {new}; nothing more is sent to this one. If this was not you, tell\n\
             whoever runs this service at once.\n"
            ),
        )
    }

    pub fn invitation(&self, to: &str, from: &str, account: &str, role: &str, token: &Once) -> Mail {
        let link = self.link("invitation", token);
        mail(
            to,
            "You are invited",
            format!(
                "{from} invites you to the account \"{account}\", as {role}. To accept, open\n\n{link}\n\
             Both are good once, for 7 days. If you do not know what this is about, do nothing.\n"
            ),
        )
    }
}

fn mail(to: &str, subject: &str, body: String) -> Mail {
    Mail { to: to.to_owned(), subject: subject.to_owned(), body }
}
