//! Changing headers as a policy says.

use clearway_config::settings::gateway::policy::Edits;
use http::HeaderValue;

use super::Head;

/// Removes, renames, sets and adds, in this order.
pub fn apply(edits: &Edits, head: &mut impl Head) {
    for name in &edits.remove {
        head.remove(name);
    }
    for (from, to) in &edits.rename {
        let values: Vec<HeaderValue> = head.headers().get_all(from).iter().cloned().collect();
        if values.is_empty() {
            continue;
        }
        head.remove(from);
        head.remove(to);
        for value in values {
            head.add(to, value);
        }
    }
    for (name, value) in &edits.set {
        head.set(name, value.clone());
    }
    for (name, value) in &edits.add {
        head.add(name, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use clearway_config::settings::gateway::policy::PolicySpec;
    use http::{HeaderMap, HeaderName};

    use super::*;

    #[test]
    fn headers_are_removed_renamed_set_and_added_in_this_order() {
        let text = r#"{"name": "p", "request_headers": {
            "remove": ["X-Gone"], "rename": {"x-old": "x-new", "x-absent": "x-kept"},
            "set": {"x-set": "1"}, "add": {"x-added": "2", "x-gone": "again"}}}"#;
        let policy = serde_json::from_str::<PolicySpec>(text).unwrap().resolve().unwrap();
        let sent = [
            ("x-gone", "0"),
            ("x-old", "a"),
            ("x-old", "b"),
            ("x-new", "c"),
            ("x-kept", "d"),
            ("x-set", "e"),
            ("x-set", "f"),
            ("x-added", "1"),
        ];
        let mut head: HeaderMap = sent.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap())).collect();
        apply(&policy.request_headers.unwrap(), &mut head);
        let all = |name: &str| head.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((all("x-gone"), all("x-old"), all("x-new")), (vec!["again"], vec![], vec!["a", "b"]));
        assert_eq!((all("x-kept"), all("x-set"), all("x-added")), (vec!["d"], vec!["1"], vec!["1", "2"]));
    }
}
