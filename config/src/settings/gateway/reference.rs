//! `docs/gateway.md` is held to what is read: every example resolves, and every key is named.

use super::*;

const PAGE: &str = include_str!("../../../../docs/gateway.md");

fn examples() -> Vec<&'static str> {
    PAGE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn every_example_of_the_reference_is_right() {
    let control = UpstreamAddress::parse("http://127.0.0.1:9000").unwrap();
    let examples = examples();
    assert!(examples.len() > 12, "{}", examples.len());
    for example in &examples[1..] {
        let text = format!("{}\n{example}", examples[0]);
        let resolved = Gateway::resolve(&[Source::new("docs/gateway.md", text)], &control);
        assert!(resolved.is_ok(), "{} in\n{example}", resolved.unwrap_err());
    }
}

#[test]
fn every_example_is_read_back_as_it_is_written_out() {
    for example in examples() {
        let document: Document = toml::from_str(example).unwrap();
        let json = serde_json::to_string(&document).unwrap();
        assert_eq!(serde_json::from_str::<Document>(&json).unwrap(), document, "{example}");
        let text = toml::to_string(&document).unwrap();
        assert_eq!(toml::from_str::<Document>(&text).unwrap(), document, "{text}");
    }
}

#[test]
fn every_key_is_in_the_reference() {
    for place in [
        "",
        "upstreams",
        "policies",
        "routes",
        "issuers",
        "client_certificates",
        "routes.rewrite",
        "routes.redirect",
        "policies.addresses",
        "policies.cors",
        "policies.request_headers",
        "policies.cache",
        "policies.compression",
        "policies.request_json",
        "policies.response_json",
        "policies.maintenance",
        "policies.deprecated",
    ] {
        let (outer, inner) = place.split_once('.').map_or((place, ""), |(outer, inner)| (outer, inner));
        let unknown = if inner.is_empty() { "zzz = 1".to_owned() } else { format!("{inner} = {{ zzz = 1 }}") };
        let text = if outer.is_empty() { unknown } else { format!("[[{outer}]]\n{unknown}") };
        let error = toml::from_str::<Document>(&text).unwrap_err().to_string();
        let expected = error.split("expected ").nth(1).unwrap_or_else(|| panic!("{place}: {error}"));
        for key in expected.split('`').skip(1).step_by(2) {
            let named =
                PAGE.contains(&format!("`{key}`")) || PAGE.contains(&format!("[{key}]")) || PAGE.contains(&format!("{key} ="));
            assert!(named, "`{key}` of {place}");
        }
    }
}
