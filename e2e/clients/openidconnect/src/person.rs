//! What a person does in a browser: signs in, reads a page of Clearway's, and sends its form. And the HTTP client of it all.

use std::env::var;

use openidconnect::{
    HttpRequest, HttpResponse,
    http::{Request, Response, header, request::Builder},
    url::{Url, form_urlencoded},
};
use serde_json::{Value, json};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

pub struct Person {
    http: Agent,
    gateway: String,
    cookie: String,
}

impl Person {
    /// Somebody who has signed in, at a gateway whose certificate is its own.
    pub fn sign_in() -> Self {
        let pem = std::fs::read(said("CLEARWAY_CA_FILE")).expect("a readable certificate");
        let certificate = Certificate::from_pem(&pem).expect("a certificate");
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[certificate])).build();
        let http = Agent::config_builder().tls_config(tls).proxy(None).max_redirects(0).http_status_as_error(false).build();
        let mut person = Self { http: http.into(), gateway: said("CLEARWAY_URL"), cookie: String::new() };
        let who = json!({ "email": said("CLEARWAY_EMAIL"), "password": said("CLEARWAY_PASSWORD"), "cookie": true });
        let request =
            Request::post(format!("{}/api/v1/auth/login", person.gateway)).header(header::CONTENT_TYPE, "application/json");
        let answer = person.ok(request.body(who.to_string().into_bytes()).expect("a request"));
        let cookies =
            answer.headers().get_all(header::SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
        person.cookie = cookies.collect::<Vec<_>>().join("; ");
        person
    }

    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Registers an application as its developer does; its settings, with its secret.
    pub fn register(&self, app: &Value) -> Value {
        let request = Request::post(format!("{}/api/v1/oauth/clients", self.gateway))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", said("CLEARWAY_API_KEY")));
        let answer = self.ok(request.body(app.to_string().into_bytes()).expect("a request"));
        serde_json::from_slice::<Value>(answer.body()).expect("JSON")["data"].take()
    }

    /// Opens a page that asks, says yes, and says where the browser is sent then.
    pub fn agree(&self, url: &Url) -> Url {
        let with_cookie = |request: Builder| request.header(header::COOKIE, &self.cookie);
        let page = self.ok(with_cookie(Request::get(url.as_str())).body(Vec::new()).expect("a request"));
        let page = String::from_utf8(page.into_body()).expect("a page");
        let mut form = form_urlencoded::Serializer::new(String::new());
        for field in page.split("<input type=\"hidden\" name=\"").skip(1) {
            let (name, rest) = field.split_once("\" value=\"").expect("a value");
            let (value, _) = rest.split_once('"').expect("an end");
            form.append_pair(name, &value.replace("&amp;", "&"));
        }
        form.append_pair("decision", "allow");
        let (at, _) = url.as_str().split_once('?').expect("a query");
        let request = with_cookie(Request::post(at)).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = self.send(request.body(form.finish().into_bytes()).expect("a request")).expect("an answer");
        let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        location.unwrap_or_else(|| panic!("{} {:?}", answer.status(), answer.body())).parse().expect("an address")
    }

    /// Sends what the crate has written, and gives it the answer.
    pub fn send(&self, request: HttpRequest) -> Result<HttpResponse, ureq::Error> {
        let (parts, body) = request.into_parts();
        let answer = match body.is_empty() {
            true => self.http.run(Request::from_parts(parts, ()))?,
            false => self.http.run(Request::from_parts(parts, body))?,
        };
        let (parts, mut body) = answer.into_parts();
        Ok(Response::from_parts(parts, body.read_to_vec()?))
    }

    fn ok(&self, request: HttpRequest) -> HttpResponse {
        let at = request.uri().clone();
        let answer = self.send(request).expect("an answer");
        assert!(answer.status().is_success(), "{at}: {} {}", answer.status(), String::from_utf8_lossy(answer.body()));
        answer
    }
}

/// A parameter of an address, which has it once.
pub fn parameter(of: &Url, name: &str) -> Option<String> {
    of.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
}

fn said(name: &str) -> String {
    var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}
