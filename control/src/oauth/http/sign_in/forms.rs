//! What people fill in to sign in: first by password, provider or passkey, and then what else they are asked for.

use std::fmt::Write as _;

use axum::response::Response;
use http::StatusCode;

use super::{
    super::page::{Escaped, hidden, page, page_with_script},
    SCRIPT,
};
use crate::{
    factors::{CODE_CHARS_MAX, Held, passkeys},
    http::Api,
};

const TITLE: &str = "Sign in";
const TEXT: &str = "a String takes everything";
/// Where the script asks for a challenge: for whoever comes, and for whom a ticket is of.
const ASK: &str = "/api/v1/auth/passkey";
const ASK_SECOND: &str = "/api/v1/auth/second-factor/passkey";

/// For whoever comes.
pub(super) fn first(api: &Api, status: StatusCode, return_to: &str, wrong: Option<&str>) -> Response {
    let mut body = String::new();
    told(&mut body, wrong);
    begun(&mut body, return_to);
    body.push_str(
        "<label for=\"email\">Address</label>\n\
         <input id=\"email\" name=\"email\" type=\"email\" autocomplete=\"username\" required maxlength=\"254\">\n\
         <label for=\"password\">Password</label>\n\
         <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" required maxlength=\"128\">\n\
         <button>Sign in</button>\n</form>\n",
    );
    if api.providers.iter().next().is_some() {
        begun(&mut body, return_to);
        for provider in api.providers.iter() {
            let (name, title) = (Escaped(&provider.name), Escaped(&provider.title));
            writeln!(body, "<button name=\"provider\" value=\"{name}\">Continue with {title}</button>").expect(TEXT);
        }
        body.push_str("</form>\n");
    }
    let by_passkey = passkeys::available(api);
    if by_passkey {
        passkey(&mut body, return_to, None);
    }
    written(status, &body, by_passkey)
}

/// For whoever is asked for a second factor: a ticket, and what its person has.
pub(super) fn second(
    api: &Api,
    status: StatusCode,
    return_to: &str,
    (ticket, held): (&str, Held),
    wrong: Option<&str>,
) -> Response {
    let mut body = String::new();
    told(&mut body, wrong);
    begun(&mut body, return_to);
    hidden(&mut body, "ticket", ticket);
    let asks = if held.totp { "Code of your app, or a recovery code" } else { "A recovery code" };
    writeln!(
        body,
        "<label for=\"code\">{asks}</label>\n\
         <input id=\"code\" name=\"code\" autocomplete=\"one-time-code\" required maxlength=\"{CODE_CHARS_MAX}\">\n\
         <button>Sign in</button>\n</form>"
    )
    .expect(TEXT);
    let by_passkey = held.passkeys > 0 && passkeys::available(api);
    if by_passkey {
        passkey(&mut body, return_to, Some(ticket));
    }
    written(status, &body, by_passkey)
}

fn written(status: StatusCode, body: &str, by_passkey: bool) -> Response {
    // Where the person agrees, the next page says where that leads.
    if by_passkey { page_with_script(status, TITLE, body, SCRIPT) } else { page(status, TITLE, body, None) }
}

fn told(into: &mut String, wrong: Option<&str>) {
    if let Some(says) = wrong {
        writeln!(into, "<p class=\"wrong\" role=\"alert\">{}</p>", Escaped(says)).expect(TEXT);
    }
}

fn begun(into: &mut String, return_to: &str) {
    into.push_str("<form method=\"post\" action=\"/oauth/sign-in\">\n");
    hidden(into, "return_to", return_to);
}

/// Of use with the script only, which shows it.
fn passkey(into: &mut String, return_to: &str, ticket: Option<&str>) {
    let (ask, button) = match ticket {
        None => (ASK, "Sign in with a passkey"),
        Some(_) => (ASK_SECOND, "Use a passkey"),
    };
    writeln!(into, "<form method=\"post\" action=\"/oauth/sign-in\" id=\"passkey\" data-ask=\"{ask}\" hidden>").expect(TEXT);
    hidden(into, "return_to", return_to);
    if let Some(ticket) = ticket {
        hidden(into, "ticket", ticket);
    }
    hidden(into, "passkey", "");
    writeln!(into, "<button>{button}</button>\n<p class=\"wrong\" role=\"alert\"></p>\n</form>").expect(TEXT);
}
