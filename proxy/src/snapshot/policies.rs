//! Lists of policies that accounts name, each held once: an account costs an index, and one without policies nothing
//! more. What the names stand for is the routing table's.

use std::collections::HashMap;

/// An index is never given again; distinct lists are few, as the policies themselves are.
#[derive(Debug, Default)]
pub(super) struct Lists {
    lists: boxcar::Vec<Box<[Box<str>]>>,
}

/// The writer's way from a list to its index.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    indexes: HashMap<Box<[Box<str>]>, u32>,
}

impl Lists {
    /// In order; 0 is no policy.
    pub(super) fn at(&self, index: u32) -> &[Box<str>] {
        match index {
            0 => &[],
            _ => self.lists.get(index as usize - 1).expect("an index was given out by push, and none is removed"),
        }
    }
}

impl Indexes {
    pub(super) fn of(&mut self, lists: &Lists, names: &[String]) -> u32 {
        if names.is_empty() {
            return 0;
        }
        let names: Box<[Box<str>]> = names.iter().map(|name| name.as_str().into()).collect();
        *self.indexes.entry(names).or_insert_with_key(|names| {
            let at = lists.lists.push(names.clone());
            u32::try_from(at + 1).expect("four billion lists do not fit into memory")
        })
    }
}
