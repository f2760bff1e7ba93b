//! What differs between two sets of objects, and how it is shown: a line for each object, and for a
//! changed one its members before and after.

use std::collections::BTreeMap;

use clearway_config::settings::gateway::{Object, ObjectKind};
use serde_json::{Map, Value};

type Spec = Map<String, Value>;

#[derive(Debug, PartialEq)]
pub(super) struct Change {
    kind: ObjectKind,
    name: String,
    before: Option<Spec>,
    after: Option<Spec>,
}

/// By kind and name.
pub(super) fn between(before: Vec<Object>, after: Vec<Object>) -> Vec<Change> {
    let mut both: BTreeMap<(ObjectKind, String), (Option<Spec>, Option<Spec>)> = BTreeMap::new();
    for object in before {
        both.entry((object.kind, object.name)).or_default().0 = Some(object.spec);
    }
    for object in after {
        both.entry((object.kind, object.name)).or_default().1 = Some(object.spec);
    }
    let differing = both.into_iter().filter(|(_, (before, after))| before != after);
    differing.map(|((kind, name), (before, after))| Change { kind, name, before, after }).collect()
}

pub(super) fn text(changes: &[Change]) -> String {
    let mut text = String::new();
    for Change { kind, name, before, after } in changes {
        let sign = match (before, after) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        text += &format!("{sign} {kind} {name}\n");
        let (Some(before), Some(after)) = (before, after) else { continue };
        let mut members: Vec<_> = before.keys().chain(after.keys()).collect();
        members.sort_unstable();
        members.dedup();
        for member in members.into_iter().filter(|&member| before.get(member) != after.get(member)) {
            for (sign, value) in [('-', before.get(member)), ('+', after.get(member))] {
                text += &value.map(|value| format!("    {sign} {member} = {value}\n")).unwrap_or_default();
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: ObjectKind, name: &str, spec: Value) -> Object {
        let Value::Object(spec) = spec else { unreachable!("an object") };
        Object { kind, name: name.into(), spec }
    }

    #[test]
    fn a_difference_names_what_comes_what_goes_and_what_was_before() {
        let before = vec![
            object(ObjectKind::Route, "old", json!({})),
            object(ObjectKind::Route, "orders", json!({"path": "/orders", "auth": "key", "strip_prefix": true})),
            object(ObjectKind::Upstream, "same", json!({"addresses": ["http://a"]})),
        ];
        let after = vec![
            object(ObjectKind::Upstream, "same", json!({"addresses": ["http://a"]})),
            object(ObjectKind::Route, "new", json!({})),
            object(ObjectKind::Route, "orders", json!({"path": "/v2/orders", "auth": "key"})),
        ];
        let shown = text(&between(before, after));
        assert_eq!(
            shown,
            "+ route new\n- route old\n~ route orders\n    - path = \"/orders\"\n    + path = \"/v2/orders\"\n    - strip_prefix = true\n"
        );
    }
}
