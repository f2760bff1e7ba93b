//! Sets of HTTP statuses, as settings name them: `503`, `"200-299"`, `"5xx"`, or a list of these.

use std::{fmt, ops::RangeInclusive};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};

const FIRST: u16 = 100;
const LAST: u16 = 599;

/// Some of the statuses from 100 to 599, one bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Statuses([u64; 8]);

impl Statuses {
    pub const NONE: Self = Self([0; 8]);

    /// Those of `range` that are statuses.
    pub fn of(range: RangeInclusive<u16>) -> Self {
        let mut statuses = Self::NONE;
        statuses.add(&range);
        statuses
    }

    pub fn contains(&self, status: u16) -> bool {
        let Some(at) = status.checked_sub(FIRST).map(usize::from) else { return false };
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    fn add(&mut self, range: &RangeInclusive<u16>) {
        for status in (*range.start()).max(FIRST)..=(*range.end()).min(LAST) {
            let at = usize::from(status - FIRST);
            self.0[at / 64] |= 1 << (at % 64);
        }
    }

    fn ranges(&self) -> Vec<RangeInclusive<u16>> {
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        for status in (FIRST..=LAST).filter(|&s| self.contains(s)) {
            match ranges.last_mut() {
                Some(last) if *last.end() + 1 == status => *last = *last.start()..=status,
                _ => ranges.push(status..=status),
            }
        }
        ranges
    }
}

fn parse(text: &str) -> Result<RangeInclusive<u16>, &'static str> {
    const WRONG: &str = "must be a status such as 503, a range such as 200-299, or a class such as 5xx";
    let text = text.trim();
    let number = |text: &str| text.trim().parse().map_err(|_| WRONG);
    let range = if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = number(class)?;
        if class > 5 {
            return Err(WRONG);
        }
        class * 100..=class * 100 + 99
    } else if let Some((from, to)) = text.split_once('-') {
        number(from)?..=number(to)?
    } else {
        number(text)?..=number(text)?
    };
    if range.is_empty() || *range.start() < FIRST || *range.end() > LAST {
        return Err("must be within 100 and 599");
    }
    Ok(range)
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.ranges().iter().map(|range| match (range.start(), range.end()) {
            (from, to) if from == to => Item::One(*from),
            (from, to) => Item::Range(format!("{from}-{to}")),
        }))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Item {
    One(u16),
    Range(String),
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Statuses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status such as 503, a range such as \"200-299\", a class such as \"5xx\", or a list of these")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Statuses, E> {
        let mut statuses = Statuses::NONE;
        for part in text.split(',') {
            statuses.add(&parse(part).map_err(E::custom)?);
        }
        Ok(statuses)
    }

    fn visit_u64<E: de::Error>(self, status: u64) -> Result<Statuses, E> {
        self.visit_str(&status.to_string())
    }

    fn visit_i64<E: de::Error>(self, status: i64) -> Result<Statuses, E> {
        self.visit_str(&status.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Statuses, A::Error> {
        let mut all = Statuses::NONE;
        while let Some(statuses) = items.next_element::<Statuses>()? {
            for (to, from) in all.0.iter_mut().zip(statuses.0) {
                *to |= from;
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Statuses, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn statuses_are_written_as_numbers_ranges_classes_and_lists_and_read_back() {
        for (written, wanted) in [
            ("503", "[503]"),
            ("\"200-299, 304\"", "[\"200-299\",304]"),
            ("\"5xx\"", "[\"500-599\"]"),
            ("[502, \"503\", \"504-504\"]", "[\"502-504\"]"),
            ("[]", "[]"),
        ] {
            let statuses = read(written).unwrap();
            assert_eq!(serde_json::to_string(&statuses).unwrap(), wanted);
            assert_eq!(read(wanted).unwrap(), statuses);
        }
        let some = read("[200, \"5xx\"]").unwrap();
        let found: Vec<u16> = (0..=u16::MAX).filter(|&s| some.contains(s)).collect();
        assert_eq!((found.len(), found[0], found[1], found[100]), (101, 200, 500, 599));
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for wrong in ["99", "600", "-1", "\"6xx\"", "\"300-200\"", "\"ok\"", "\"\"", "true", "1.5", "[[]]x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
