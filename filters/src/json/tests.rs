use clearway_config::settings::gateway::policy::PolicySpec;
use http::HeaderValue;

use super::*;

fn edited(edits: &str, body: &str) -> Result<String, Unusable> {
    let spec: PolicySpec = serde_json::from_str(&format!("{{\"name\": \"p\", \"request_json\": {{{edits}}}}}")).unwrap();
    let json = spec.resolve().unwrap().request_json.unwrap();
    let known = |fact| match fact {
        Fact::AccountId => Some("acc_1"),
        Fact::Plan => Some("a \"b\"\n"),
        _ => None,
    };
    edit(body.as_bytes(), &json.edits, known).map(|out| String::from_utf8(out).unwrap())
}

fn ok(edits: &str, body: &str) -> String {
    edited(edits, body).unwrap()
}

#[test]
fn what_is_not_named_keeps_every_digit_its_spelling_and_its_place() {
    let body = r#" {"z": 12345678901234567890.00100e+05, "a": [1e999, -0, "\u00e9\/"], "gone": 1, "m": {"x":   1}} "#;
    assert_eq!(
        ok(r#""remove": ["/gone"]"#, body),
        r#"{"z":12345678901234567890.00100e+05,"a":[1e999, -0, "\u00e9\/"],"m":{"x":   1}}"#
    );
    assert_eq!(ok(r#""remove": ["/b"]"#, "\n[1.10, 2]\n"), "[1.10,2]");
    assert_eq!(ok(r#""remove": ["/b"]"#, "1.10"), "1.10");
}

#[test]
fn fields_are_removed_renamed_set_and_added_in_this_order() {
    let edits = r#""remove": ["/a", "/l/0"], "rename": {"/b": "a", "/c": "d"}, "set": {"/e": 1, "/o/p": true}, "add": {"/a": 2, "/f": 3, "/l/-": 9}"#;
    assert_eq!(
        ok(edits, r#"{"a":0,"b":"b","d":"old","c":"c","l":[7,8]}"#),
        r#"{"a":"b","d":"c","l":[8,9],"e":1,"o":{"p":true},"f":3}"#
    );
}

#[test]
fn names_are_compared_decoded() {
    assert_eq!(ok(r#""set": {"/tenant": 1}"#, r#"{"ten\u0061nt":2,"x":3}"#), r#"{"ten\u0061nt":1,"x":3}"#);
    assert_eq!(ok(r#""remove": ["/a~1b", "/é"]"#, r#"{"a/b":1,"\u00e9":2,"c":3}"#), r#"{"c":3}"#);
    assert_eq!(edited(r#""remove": ["/x"]"#, r#"{"a":1,"\u0061":2}"#), Err(Unusable::NameTwice));
    assert_eq!(edited(r#""remove": ["/x"]"#, r#"{"deep":[{"a":1,"a":1}]}"#), Err(Unusable::NameTwice), "wherever it is");
    let many: String = (0..100).map(|n| format!("\"k{n}\":0,")).collect();
    assert_eq!(edited(r#""remove": ["/x"]"#, &format!("{{{many}\"k99\":1}}")), Err(Unusable::NameTwice));
    assert_eq!(edited(r#""remove": ["/x"]"#, &format!("{{{many}\"k0\":1}}")), Err(Unusable::NameTwice));
}

#[test]
fn what_is_known_is_said_as_a_string_that_cannot_break_out() {
    let edits = r#""set": {"/a": "{account_id}", "/b": "plan={plan}{{}}", "/c": "{key_id}", "/d": {"x": ["{account_id}"]}}"#;
    let out = ok(edits, "{}");
    assert_eq!(out, r#"{"a":"acc_1","b":"plan=a \"b\"\n{}","c":null,"d":{"x":["acc_1"]}}"#);
    assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok());
}

#[test]
fn what_cannot_be_set_is_refused_and_not_left_out() {
    for body in ["[]", "1", "\"tenant\"", "null", r#"{"o":1}"#, r#"{"o":[]}"#, r#"{"o":null}"#] {
        assert_eq!(edited(r#""set": {"/o/tenant": 1}"#, body), Err(Unusable::NoPlace), "{body}");
    }
    for at in ["/l/2", "/l/01", "/l/x", "/l/-1", "/l/-/a"] {
        assert_eq!(edited(&format!("\"set\": {{\"{at}\": 1}}"), r#"{"l":[0]}"#), Err(Unusable::NoPlace), "{at}");
    }
    assert_eq!(ok(r#""set": {"/l/0/a": 1}"#, r#"{"l":[{}]}"#), r#"{"l":[{"a":1}]}"#);
}

#[test]
fn what_only_some_parsers_take_is_not_json() {
    for body in [
        "",
        " ",
        "{",
        "}",
        "{]",
        "[1,]",
        "{\"a\":1,}",
        "{'a':1}",
        "{a:1}",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "-",
        "NaN",
        "tru",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"a",
        "\"\t\"",
        "1 2",
        "{} {}",
        "// c\n1",
        "\u{feff}{}",
        "[1 2]",
        "{\"a\" 1}",
        "{\"\\ud800\":1}",
    ] {
        assert_eq!(edited(r#""remove": ["/x"]"#, body), Err(Unusable::NotJson), "{body:?}");
    }
    assert_eq!(edit(b"\"\xff\"", &[], |_| None), Err(Unusable::NotJson));
    let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    assert!(edited(r#""remove": ["/x"]"#, &nested(DEPTH_MAX)).is_ok());
    assert_eq!(edited(r#""remove": ["/x"]"#, &nested(DEPTH_MAX + 1)), Err(Unusable::TooDeep));
    assert_eq!(edited(r#""remove": ["/x"]"#, &"[".repeat(1 << 20)), Err(Unusable::TooDeep));
}

#[test]
fn types_are_json_by_name_or_ending() {
    let of = |types: &[&str]| {
        let headers = types.iter().map(|text| (CONTENT_TYPE, HeaderValue::from_str(text).unwrap())).collect();
        is_json(&headers)
    };
    assert!(of(&["application/json"]) && of(&["Application/JSON ; charset=utf-8"]) && of(&["application/problem+json"]));
    assert!(of(&["text/plain", "application/json"]), "whichever the upstream takes");
    assert!(!of(&[]) && !of(&["text/json"]) && !of(&["application/jsonp"]) && !of(&["application/json+zip"]));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_taken_serde_takes_too_and_an_edit_makes_json(body in "[\\[\\]{}\",:0-9a-c\\\\u. eE+-]{0,40}") {
            if let Ok(out) = edited(r#""remove": ["/a"], "add": {"/b": 1}"#, &body) {
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok(), "{body}");
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&out).is_ok(), "{out}");
            }
        }
    }
}
