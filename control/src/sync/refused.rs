//! What a proxy holds and does not act by, as it says so: bounded, and with the revision since which it is known.

use std::collections::HashSet;

use clearway_config::sync::{REFUSED_NAMED_MAX, REFUSED_REASON_CHARS_MAX, v1};
use serde::{Deserialize, Serialize};

const NAME_CHARS_MAX: usize = 100;

/// The ids of the objects that a change is about, as [`super::ChangeKind::GatewayObject`] names them.
pub type Objects = HashSet<String>;

/// What one proxy refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// How many objects, of which [`REFUSED_NAMED_MAX`] are named at most.
    pub count: u32,
    pub objects: Vec<RefusedObject>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedObject {
    /// As `route/orders`; `None` is every change of the gateway's objects since the last one that the proxy took.
    pub object: Option<String>,
    pub reason: String,
    /// The first revision at which the proxy is known to refuse it.
    since: i64,
}

impl Refused {
    /// What a proxy that refused `self` says at `revision`.
    pub(super) fn followed_by(&self, said: v1::Refused, revision: i64) -> Self {
        let short = |text: String, chars| text.chars().filter(|c| !c.is_control()).take(chars).collect::<String>();
        let object = |said: v1::RefusedObject| {
            let object = (!said.kind.is_empty())
                .then(|| format!("{}/{}", short(said.kind, NAME_CHARS_MAX), short(said.name, NAME_CHARS_MAX)));
            let known = self.objects.iter().find(|known| known.object == object);
            let since = known.map_or(revision, |known| known.since);
            RefusedObject { object, reason: short(said.reason, REFUSED_REASON_CHARS_MAX), since }
        };
        Self { count: said.count, objects: said.objects.into_iter().take(REFUSED_NAMED_MAX).map(object).collect() }
    }

    /// Whether a change of these objects at `revision`, or something that it displaced, is not in force. True as well
    /// where that cannot be told because more is refused than is named.
    pub(super) fn concerns(&self, objects: &Objects, revision: i64) -> bool {
        let is_it = |refused: &RefusedObject| {
            refused.since >= revision || refused.object.as_ref().is_none_or(|object| objects.contains(object))
        };
        self.count as usize > self.objects.len() || self.objects.iter().any(is_it)
    }

    /// As `proxies` keeps it.
    pub(super) fn to_text(&self) -> String {
        if self.count == 0 { String::new() } else { serde_json::json!(self).to_string() }
    }

    /// Nothing where the text is not understood: the proxy says it again when it attaches.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(names: &[&str]) -> v1::Refused {
        let object = |name: &&str| v1::RefusedObject { kind: "route".into(), name: (*name).into(), reason: "a\nb".repeat(200) };
        v1::Refused { count: u32::try_from(names.len()).unwrap(), objects: names.iter().map(object).collect() }
    }

    fn objects(names: &[&str]) -> Objects {
        names.iter().map(|name| format!("route/{name}")).collect()
    }

    #[test]
    fn a_change_is_refused_where_it_is_named_or_something_is_refused_since() {
        let first = Refused::default().followed_by(said(&["a"]), 5);
        assert_eq!(first.objects[0].reason.chars().count(), REFUSED_REASON_CHARS_MAX);
        assert!(first.concerns(&objects(&["a"]), 9) && first.concerns(&objects(&["b"]), 5));
        assert!(!first.concerns(&objects(&["b"]), 6), "that one was refused before");
        let next = first.followed_by(said(&["a", "c"]), 8);
        assert!(!next.concerns(&objects(&["b"]), 9) && next.concerns(&objects(&["b"]), 7), "c has been displaced since");
        assert_eq!(Refused::parse(&next.to_text()), next);
    }

    #[test]
    fn a_change_refused_as_a_whole_or_not_named_for_lack_of_room_is_refused_whatever_it_is_about() {
        let whole = v1::RefusedObject { reason: "wrong".into(), ..Default::default() };
        let whole = Refused::default().followed_by(v1::Refused { count: 1, objects: vec![whole] }, 1);
        assert!(whole.concerns(&objects(&["b"]), 9));
        let names: Vec<_> = (0..70).map(|n| format!("r{n}")).collect();
        let many = Refused::default().followed_by(said(&names.iter().map(String::as_str).collect::<Vec<_>>()), 1);
        assert_eq!((many.count, many.objects.len()), (70, REFUSED_NAMED_MAX));
        assert!(many.concerns(&objects(&["b"]), 9));
        assert!(!Refused::default().concerns(&objects(&["b"]), 9));
    }
}
