//! Upstreams of several targets: who is asked, what is tried again, and what is left alone.

mod breaking;
mod fake;
mod h2;
mod health;
mod load;
mod mirror;
mod picking;
mod retries;
mod tls;

use crate::{
    client::Answer,
    rig::{Rig, bearer, request},
    upstream::Upstream,
};
use fake::Fake;

/// A gateway whose route `/p` leads to an upstream `pool` of these targets, with these further words.
fn rig(targets: &[&Fake], more: &str) -> Rig {
    let targets: Vec<_> = targets.iter().map(|fake| fake.target()).collect();
    rig_of(&targets, more)
}

fn rig_of(targets: &[String], more: &str) -> Rig {
    Rig::start_with(Upstream::start(), &settings(targets, more), |_| {})
}

fn settings(targets: &[String], more: &str) -> String {
    format!(
        "[[upstreams]]\nname = \"pool\"\naddresses = [{}]\n{more}\n\
         [[routes]]\nname = \"p\"\npath = \"/p\"\nupstream = \"pool\"\nauth = \"key\"\n",
        targets.join(", ")
    )
}

fn ask(rig: &Rig, method: &str, path: &str, more: &[&str], body: &str) -> Answer {
    let key = bearer(1);
    let length = format!("Content-Length: {}", body.len());
    let mut headers = vec![key.as_str()];
    headers.extend(more);
    if !body.is_empty() {
        headers.push(&length);
    }
    rig.ask(request(method, path, &headers, body))
}

/// Which target answered a GET, and that it did with the body that was asked for.
fn served_by(rig: &Rig, path: &str, more: &[&str]) -> String {
    let answer = ask(rig, "GET", path, more, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let name = answer.header("x-served-by").unwrap().to_owned();
    assert_eq!(String::from_utf8(answer.body).unwrap(), format!("{name} {path}"));
    name
}
