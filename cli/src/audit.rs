//! `clearway audit verify`: every link of the audit log's chain, computed anew on this side.

use clap::{Args, Subcommand};
use clearway_config::audit::{ChainedEntry, Link};
use serde::Deserialize;
use serde_json::json;

use crate::{
    Fatal,
    api::{Api, Target},
};

/// Links that are read at a time.
const PAGE: u64 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compute the audit log's chain anew. Ends with 2 where a link does not hold.
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A link that an earlier run printed, NUMBER:LINK. Kept elsewhere, it shows whether the log was cut off or written
    /// anew since.
    #[arg(long, value_name = "NUMBER:LINK", value_parser = head)]
    head: Option<(u64, Link)>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Item>,
    /// On the last page only.
    unlinked: Option<Unlinked>,
}

/// Entries without a link.
#[derive(Debug, Default, Deserialize)]
struct Unlinked {
    waiting: u64,
    lost: u64,
    strange: u64,
}

#[derive(Debug, Deserialize)]
struct Item {
    number: u64,
    link: String,
    entry: Option<ChainedEntry>,
}

#[expect(clippy::print_stdout, reason = "what a command answers goes to standard output")]
pub(crate) async fn run(Command::Verify(args): Command) -> Result<(), Fatal> {
    let api = Api::of(&args.target)?;
    let mut chain = Chain::new(args.head);
    let unlinked = loop {
        let path = format!("/api/v1/admin/audit/chain?after={}&limit={PAGE}", chain.number);
        let page: Page = api.read(&path).await?;
        let none = page.items.is_empty();
        for item in page.items {
            chain.add(item).map_err(|why| unlike(&why))?;
        }
        match page.unlinked {
            Some(unlinked) => break unlinked,
            None if none => return Err(Fatal::new("the answer has no end")),
            None => {}
        }
    };
    chain.end(&unlinked).map_err(|why| unlike(&why))?;
    let (entries, head, waiting) = (chain.number, format!("{}:{}", chain.number, chain.link), unlinked.waiting);
    if args.target.json {
        println!("{}", json!({ "entries": entries, "head": head, "waiting": waiting }));
    } else {
        println!("{entries} entries hold together; {waiting} wait for their links.");
        println!("Keep this where nobody can change it together with the log, and give it as --head next time:\n{head}");
    }
    Ok(())
}

fn unlike(why: &str) -> Fatal {
    Fatal::unlike(format!("the audit log is not what it was: {why}"))
}

/// What has been verified so far.
#[derive(Debug)]
struct Chain {
    number: u64,
    link: Link,
    /// Still to come.
    head: Option<(u64, Link)>,
}

impl Chain {
    fn new(head: Option<(u64, Link)>) -> Self {
        Self { number: 0, link: Link::first(), head }
    }

    fn add(&mut self, item: Item) -> Result<(), String> {
        let number = self.number + 1;
        if item.number != number {
            return Err(format!("entry {number} is missing"));
        }
        let entry = item.entry.ok_or_else(|| format!("entry {number} was deleted"))?;
        let link = self.link.next(number, &entry);
        if Link::parse(&item.link) != Some(link) {
            return Err(format!("entry {number} ({:?}) or its place was changed", entry.id));
        }
        if let Some((_, kept)) = self.head.take_if(|(wanted, _)| *wanted == number)
            && kept != link
        {
            return Err(format!("it was written anew: entry {number} has another link than the one given"));
        }
        (self.number, self.link) = (number, link);
        Ok(())
    }

    /// After the last link.
    fn end(&self, unlinked: &Unlinked) -> Result<(), String> {
        if let Some((wanted, _)) = self.head {
            return Err(format!("it ends with entry {}, and had an entry {wanted}", self.number));
        }
        match unlinked {
            Unlinked { lost: 1.., .. } => Err(format!("{} entries were taken out before they were linked", unlinked.lost)),
            Unlinked { strange: 1.., .. } => Err(format!("{} entries were put in beside Clearway", unlinked.strange)),
            Unlinked { .. } => Ok(()),
        }
    }
}

fn head(text: &str) -> Result<(u64, Link), String> {
    let parsed = text.split_once(':').and_then(|(number, link)| Some((number.parse().ok()?, Link::parse(link)?)));
    parsed.filter(|(number, _)| *number > 0).ok_or_else(|| "must be a number, a colon and 64 hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> ChainedEntry {
        let entry = json!({
            "id": id, "account_id": "acct_1", "at_ms": 1, "actor_kind": "system", "actor_id": "clearway",
            "impersonator_id": null, "address": null, "request_id": null, "action": "key.created",
            "object_kind": "key", "object_id": "key_1", "changes": {},
        });
        serde_json::from_value(entry).unwrap()
    }

    fn items(ids: &[&str]) -> Vec<Item> {
        let mut link = Link::first();
        let linked = (1..).zip(ids).map(|(number, id)| {
            link = link.next(number, &entry(id));
            Item { number, link: link.to_string(), entry: Some(entry(id)) }
        });
        linked.collect()
    }

    fn verified(items: Vec<Item>, head: Option<(u64, Link)>) -> Result<Chain, String> {
        let mut chain = Chain::new(head);
        items.into_iter().try_for_each(|item| chain.add(item))?;
        Ok(chain)
    }

    #[test]
    fn a_log_that_was_changed_cut_or_written_anew_is_told_apart_from_a_whole_one() {
        let whole = verified(items(&["a", "b", "c"]), None).unwrap();
        let head = Some((3, whole.link));
        assert!(verified(items(&["a", "b", "c", "d"]), head).unwrap().head.is_none());

        let mut changed = items(&["a", "b", "c"]);
        changed[1].entry.as_mut().unwrap().object_id = "key_2".into();
        assert!(verified(changed, None).unwrap_err().contains("entry 2"));
        let mut deleted = items(&["a", "b", "c"]);
        deleted[1].entry = None;
        assert!(verified(deleted, None).unwrap_err().contains("was deleted"));
        let mut missing = items(&["a", "b", "c"]);
        missing.remove(1);
        assert!(verified(missing, None).unwrap_err().contains("entry 2 is missing"));
        let mut swapped = items(&["a", "b", "c"]);
        (swapped[0].number, swapped[1].number) = (2, 1);
        swapped.swap(0, 1);
        assert!(verified(swapped, None).unwrap_err().contains("entry 1"));
        assert!(verified(items(&["a", "x", "c"]), head).unwrap_err().contains("written anew"));
        let cut = verified(items(&["a", "b"]), head).unwrap();
        assert!(cut.end(&Unlinked::default()).unwrap_err().contains("ends with entry 2"));
        assert!(whole.end(&Unlinked { waiting: 9, ..Unlinked::default() }).is_ok());
        assert!(whole.end(&Unlinked { lost: 1, ..Unlinked::default() }).unwrap_err().contains("taken out"));
        assert!(whole.end(&Unlinked { strange: 1, ..Unlinked::default() }).unwrap_err().contains("put in"));
    }

    #[test]
    fn a_head_is_read_as_it_was_printed() {
        let link = verified(items(&["a"]), None).unwrap().link;
        assert_eq!(head(&format!("1:{link}")), Ok((1, link)));
        for wrong in ["", "1", "0:00", &format!("0:{link}"), &format!("x:{link}"), "1:zz"] {
            assert!(head(wrong).is_err(), "{wrong}");
        }
    }
}
