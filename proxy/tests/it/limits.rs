//! Limits: what is left is said on every answer, and what is used up is refused.

use clearway_config::Limits;

use crate::rig::{Rig, bearer, get, request};

#[test]
fn what_is_left_is_on_every_answer_whoever_made_it() {
    let mut rig = Rig::start();
    rig.set_limits(Limits { per_day: Some(4), concurrent: Some(5), ..Limits::UNLIMITED });
    for (path, status, remaining) in
        [("/svc/a", 200, "3"), ("/svc/missing", 404, "2"), ("/svc/hangup", 502, "1"), ("/svc/a", 200, "0")]
    {
        let answer = rig.ask(request("POST", path, &[&bearer(1)], ""));
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-ratelimit-limit"), Some("4"), "{path}");
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(remaining), "{path}");
        assert!(answer.header("x-ratelimit-reset").unwrap().parse::<u64>().unwrap() > 1_700_000_000);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"account-day\";q=4;w=86400, \"account-concurrent\";q=5"));
        assert!(answer.header("ratelimit").unwrap().starts_with(&format!("\"account-day\";r={remaining};t=")), "{path}");
        assert_eq!(answer.header("retry-after"), None);
    }
    let refused = rig.get("/svc/a");
    assert_eq!((refused.status, refused.error().as_str()), (429, "quota_exceeded"));
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    assert!(refused.header("ratelimit").unwrap().starts_with("\"account-day\";r=0;t="));
    assert!((1..=86_400).contains(&refused.header("retry-after").unwrap().parse::<u64>().unwrap()));
    assert_eq!(rig.upstream.received().len(), 4);
    assert_eq!(rig.counted(), 4, "the refused one costs nothing");
}

#[test]
fn a_used_up_second_says_so() {
    let mut rig = Rig::start();
    rig.set_limits(Limits { per_second: Some(1), ..Limits::UNLIMITED });
    let refused = crate::rig::eventually("a second to be used up", || Some(rig.get("/svc/a")).filter(|a| a.status == 429));
    assert_eq!((refused.error().as_str(), refused.header("retry-after").is_some()), ("rate_limit_exceeded", true));
}

#[test]
fn a_key_may_have_less_than_its_account() {
    let mut rig = Rig::start();
    rig.set_credential(clearway_config::sync::v1::Credential {
        limits: Some(Limits { per_day: Some(1), ..Limits::UNLIMITED }.into()),
        ..crate::rig::credential(2)
    });
    assert_eq!(rig.ask(get("/svc/a", &[&bearer(2)])).header("ratelimit-policy"), Some("\"key-day\";q=1;w=86400"));
    assert_eq!(rig.ask(get("/svc/a", &[&bearer(2)])).error(), "quota_exceeded");
    assert_eq!(rig.get("/svc/a").status, 200);
}
