//! `/oauth/sign-in`: for a browser without a session that an application has sent here, or that comes with a device's code. It
//! leads back to that, and to nowhere else.

use axum::{
    Extension,
    extract::{FromRequestParts, Request, State},
    response::Response,
};
use clearway_config::ErrorCode;
use http::{StatusCode, header};

use super::{
    Oauth,
    authorize::{too_often, unreadable},
    page::{Escaped, hidden, page, see_other, wrong},
};
use crate::{
    auth::{FormStep, Visitor, code_by_form, sign_in_by_form},
    http::Api,
    oauth::params::Params,
};

/// Where alone it leads.
const HERE: [&str; 2] = ["/oauth/authorize?", "/oauth/device?"];

pub(super) async fn show(State(api): State<Api>, Extension(oauth): Extension<Oauth>, request: Request) -> Response {
    if let Some(refused) = too_often(&api, &oauth, &request) {
        return refused;
    }
    match Params::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        Ok(params) => match return_to(&params) {
            Some(return_to) => form(StatusCode::OK, return_to, None),
            None => lost(),
        },
        Err(why) => unreadable(&why),
    }
}

pub(super) async fn sign_in(State(api): State<Api>, Extension(oauth): Extension<Oauth>, request: Request) -> Response {
    if let Some(refused) = too_often(&api, &oauth, &request) {
        return refused;
    }
    let (mut parts, body) = request.into_parts();
    let Ok(visitor) = Visitor::from_request_parts(&mut parts, &api).await else {
        return wrong(StatusCode::INTERNAL_SERVER_ERROR, "Something is wrong on our side. Try again.");
    };
    let params = match Params::of_body(Request::from_parts(parts, body)).await {
        Ok(params) => params,
        Err(why) => return unreadable(&why),
    };
    let Some(return_to) = return_to(&params) else { return lost() };
    let said = |name: &str| params.get(name).unwrap_or_default();
    let ticket = params.get("ticket");
    let step = match ticket {
        Some(ticket) => code_by_form(&api, &visitor, ticket, said("code")).await.map(FormStep::SignedIn),
        None => sign_in_by_form(&api, &visitor, said("email"), said("password")).await,
    };
    match step {
        Ok(FormStep::SignedIn(cookies)) => {
            let mut response = see_other(return_to);
            for cookie in cookies {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            response
        }
        Ok(FormStep::Code(ticket)) => code_form(StatusCode::OK, return_to, ticket.reveal(), None),
        Err(error) => {
            let status = StatusCode::from_u16(error.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let says = Some(error.code().meaning());
            match ticket.filter(|_| error.code() == ErrorCode::SecondFactorInvalid) {
                Some(ticket) => code_form(status, return_to, ticket, says),
                None => form(status, return_to, says),
            }
        }
    }
}

/// A path of ours, as it is written: what a browser could read as an address is none.
fn return_to(params: &Params) -> Option<&str> {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    params.get("return_to").filter(|to| HERE.iter().any(|here| to.starts_with(here)) && plain(to))
}

fn lost() -> Response {
    wrong(StatusCode::BAD_REQUEST, "It is not known where to go afterwards. Go back to the application, and begin anew.")
}

fn begun(return_to: &str, wrong: Option<&str>) -> String {
    let mut body = String::new();
    if let Some(says) = wrong {
        body.push_str(&format!("<p class=\"wrong\">{}</p>\n", Escaped(says)));
    }
    body.push_str("<form method=\"post\" action=\"/oauth/sign-in\">\n");
    hidden(&mut body, "return_to", return_to);
    body
}

/// For whoever is asked for a second factor.
fn code_form(status: StatusCode, return_to: &str, ticket: &str, wrong: Option<&str>) -> Response {
    let mut body = begun(return_to, wrong);
    hidden(&mut body, "ticket", ticket);
    body.push_str(
        "<label for=\"code\">Code of your app, or a recovery code</label>\n\
         <input id=\"code\" name=\"code\" autocomplete=\"one-time-code\" required maxlength=\"32\">\n\
         <button>Sign in</button>\n</form>\n",
    );
    page(status, "Sign in", &body, None)
}

fn form(status: StatusCode, return_to: &str, wrong: Option<&str>) -> Response {
    let mut body = begun(return_to, wrong);
    body.push_str(
        "<label for=\"email\">Address</label>\n\
         <input id=\"email\" name=\"email\" type=\"email\" autocomplete=\"username\" required maxlength=\"254\">\n\
         <label for=\"password\">Password</label>\n\
         <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" required maxlength=\"128\">\n\
         <button>Sign in</button>\n</form>\n",
    );
    // Where the person agrees, the next page says where that leads.
    page(status, "Sign in", &body, None)
}
