//! The scripts, and calls and answers as what they take and give: see the head of each script.

use ::redis::{Cmd, Value};
use clearway_filters::lease::{
    Answer, Asks, Beat, Beaten, BucketLost, Given, Grants, Held, HeldLong, Incarnation, LongAsk, LongGiven, PERIOD_MS, Policy,
    Restore, Restored, Roster, RosterVersion, SecondGiven, SlotsGiven, SubjectId, Take, WINDOW_SLACK_MS,
    call::{Long, bucket_of},
    roster::{ROSTER_AGE_MS, plain_name},
};

use super::{super::StoreError, keys::Keys};

/// A script's text with its digest, by which a server that has seen it knows it.
#[derive(Debug)]
pub(super) struct Script(::redis::Script, String);

impl Script {
    pub(super) fn take() -> Self {
        Self::new(concat!(include_str!("rules.lua"), include_str!("take.lua")))
    }

    pub(super) fn restore() -> Self {
        Self::new(concat!(include_str!("rules.lua"), include_str!("restore.lua")))
    }

    pub(super) fn beat() -> Self {
        Self::new(concat!(include_str!("rules.lua"), include_str!("beat.lua")))
    }

    pub(super) fn new(text: &str) -> Self {
        Self(::redis::Script::new(text), text.to_owned())
    }

    pub(super) fn digest(&self) -> &str {
        self.0.get_hash()
    }

    pub(super) fn text(&self) -> &str {
        &self.1
    }
}

/// One window of a call: its key, and the eight values that stand for it.
struct Part {
    key: String,
    kind: &'static str,
    values: [u64; 7],
}

/// Writes the number of keys and the keys; the arguments' head; then the parts.
fn fill(cmd: &mut Cmd, first_key: &str, parts: &[Part], head: impl FnOnce(&mut Cmd)) {
    cmd.arg(1 + parts.len()).arg(first_key);
    for part in parts {
        cmd.arg(&part.key);
    }
    head(cmd);
    for part in parts {
        cmd.arg(part.kind);
        for value in part.values {
            cmd.arg(value);
        }
    }
}

pub(super) fn fill_take(cmd: &mut Cmd, keys: &Keys, policy: &Policy, take: &Take) {
    let bucket = bucket_of(&take.account);
    let mut parts = Vec::with_capacity(8);
    for (subject, asks) in subjects(take) {
        if let Some(ask) = asks.second {
            let values = [ask.limit, ask.bare.into(), ask.share, ask.want_share, ask.want_tokens, 0, 0].map(u64::from);
            parts.push(Part { key: keys.second(bucket, subject), kind: "S", values });
        }
        let long = |long: Long, ask: LongAsk| Part {
            key: keys.long(bucket, subject, long, ask.window),
            kind: "L",
            values: [
                ask.limit,
                ask.bare.into(),
                long.begins_ms(ask.window),
                long.ends_ms(ask.window),
                long.kept_ms(),
                ask.holds,
                ask.want,
            ],
        };
        parts.extend(asks.day.map(|ask| long(Long::Day, ask)));
        parts.extend(asks.month.map(|ask| long(Long::Month, ask)));
        if let Some(ask) = asks.slots {
            let values = [ask.limit, ask.bare.into(), ask.holds, ask.want, 0, 0, 0].map(u64::from);
            parts.push(Part { key: keys.slots(bucket, subject), kind: "C", values });
        }
    }
    fill(cmd, &keys.incarnation(bucket), &parts, |cmd| {
        cmd.arg(take.incarnation.as_ref().map_or("", Incarnation::as_str));
        cmd.arg(take.caller.node.to_string()).arg(take.caller.epoch).arg(take.caller.seq);
        cmd.arg(policy.long_parts).arg(policy.slots_parts).arg(policy.share_lease_ms).arg(policy.slots_lease_ms);
        cmd.arg(WINDOW_SLACK_MS).arg(PERIOD_MS).arg(policy.forget_after_ms);
    });
}

fn subjects(take: &Take) -> impl Iterator<Item = (SubjectId, Asks)> {
    let key = take.key.map(|(key, asks)| (SubjectId::Key(key), asks));
    [Some((SubjectId::Account(take.account), take.account_asks)), key].into_iter().flatten()
}

pub(super) fn read_answer(value: Value, take: &Take) -> Result<Answer, StoreError> {
    let mut values = Values::of(value)?;
    match values.number()? {
        0 => {}
        1 => return Ok(Answer::Stale),
        2 => return Ok(Answer::Lost(Incarnation::new(&values.text()?))),
        3 => return Ok(Answer::Restoring),
        _ => return Err(StoreError::Malformed("an unknown status")),
    }
    let now_ms = values.number()?;
    let mut given = [Given::default(); 2];
    for (given, (_, asks)) in given.iter_mut().zip(subjects(take)) {
        if asks.second.is_some() {
            given.second = Some(SecondGiven {
                share: values.small()?,
                until_ms: values.number()?,
                tokens: values.small()?,
                second: values.small()?,
                left: values.small()?,
            });
        }
        let mut long = |ask: LongAsk| {
            Ok::<_, StoreError>(LongGiven {
                window: ask.window,
                granted: values.number()?,
                left: values.number()?,
                open: values.number()? == 1,
            })
        };
        given.day = asks.day.map(&mut long).transpose()?;
        given.month = asks.month.map(&mut long).transpose()?;
        if asks.slots.is_some() {
            given.slots = Some(SlotsGiven { slots: values.small()?, until_ms: values.number()?, left: values.small()? });
        }
    }
    let [account, key] = given;
    Ok(Answer::Given(Box::new(Grants { now_ms, account, key })))
}

pub(super) fn fill_restore(cmd: &mut Cmd, keys: &Keys, policy: &Policy, restore: &Restore) {
    let bucket = restore.bucket;
    let mut parts = Vec::new();
    for Held { subject, second, day, month, slots } in restore.held.iter().copied() {
        if let Some(held) = second {
            let of = |n: u32| u64::from(n);
            let values = [of(held.share), held.lasts_ms, of(held.second), of(held.count), of(held.before), 0, 0];
            parts.push(Part { key: keys.second(bucket, subject), kind: "S", values });
        }
        let long = |long: Long, held: HeldLong| Part {
            key: keys.long(bucket, subject, long, held.window),
            kind: "L",
            values: [long.ends_ms(held.window), long.kept_ms(), held.holds, held.out, 0, 0, 0],
        };
        parts.extend(day.map(|held| long(Long::Day, held)));
        parts.extend(month.map(|held| long(Long::Month, held)));
        if let Some(held) = slots {
            let values = [u64::from(held.slots), held.lasts_ms, 0, 0, 0, 0, 0];
            parts.push(Part { key: keys.slots(bucket, subject), kind: "C", values });
        }
    }
    fill(cmd, &keys.incarnation(bucket), &parts, |cmd| {
        cmd.arg(restore.incarnation.as_ref().map_or("", Incarnation::as_str));
        cmd.arg(restore.caller.node.to_string()).arg(restore.caller.epoch).arg(restore.caller.seq);
        cmd.arg(u8::from(restore.done)).arg(policy.forget_after_ms);
        cmd.arg(policy.share_lease_ms).arg(policy.slots_lease_ms).arg(u8::from(restore.departed)).arg(restore.members.len());
        for (node, beat_ms) in &restore.members {
            cmd.arg(node.to_string()).arg(*beat_ms);
        }
    });
}

pub(super) fn read_restored(value: Value) -> Result<Restored, StoreError> {
    let mut values = Values::of(value)?;
    match values.number()? {
        0 => Ok(Restored::Ready(Incarnation::new(&values.text()?))),
        1 => Ok(Restored::Stale),
        3 => Ok(Restored::Restoring(Incarnation::new(&values.text()?), values.small()?)),
        _ => Err(StoreError::Malformed("an unknown status")),
    }
}

pub(super) fn fill_beat(cmd: &mut Cmd, keys: &Keys, policy: &Policy, beat: &Beat) {
    fill(cmd, &keys.members(), &[], |cmd| {
        cmd.arg(beat.caller.node.to_string()).arg(beat.caller.epoch).arg(plain_name(&beat.name).as_str());
        cmd.arg(policy.forget_after_ms).arg(u8::from(beat.leaving)).arg(ROSTER_AGE_MS);
        cmd.arg(beat.knows.as_ref().map_or("", RosterVersion::as_str));
        for BucketLost { bucket, incarnation } in &beat.lost {
            cmd.arg(*bucket).arg(incarnation.as_str());
        }
    });
}

pub(super) fn read_beaten(value: Value) -> Result<Beaten, StoreError> {
    let mut values = Values::of(value)?;
    let (now_ms, version) = (values.number()?, RosterVersion::new(&values.text()?));
    let roster = if values.is_empty() { None } else { Some(read_roster(&values.text()?)?) };
    Ok(Beaten { now_ms, version, roster })
}

/// As it stands in Redis: three lists of words.
fn read_roster(text: &str) -> Result<Roster, StoreError> {
    let mut lists = text.split('|').map(|list| list.split(' ').filter(|word| !word.is_empty()));
    let mut list = || lists.next().ok_or(StoreError::Malformed("a list of the roster is missing"));
    let mut roster = Roster::default();
    for node in list()? {
        roster.members.push(node.parse().map_err(|_| StoreError::Malformed("a member is no node"))?);
    }
    for node in list()? {
        roster.departed.push(node.parse().map_err(|_| StoreError::Malformed("one that is gone is no node"))?);
    }
    let mut lost = list()?;
    while let Some((bucket, incarnation)) = lost.next().zip(lost.next()) {
        let bucket = bucket.parse().map_err(|_| StoreError::Malformed("a bucket is no number"))?;
        roster.lost.push(BucketLost { bucket, incarnation: Incarnation::new(incarnation) });
    }
    roster.members.sort_unstable();
    roster.departed.sort_unstable();
    roster.lost.sort();
    Ok(roster)
}

/// An answer's values, one after the other.
struct Values(std::vec::IntoIter<Value>);

impl Values {
    fn of(value: Value) -> Result<Self, StoreError> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            _ => Err(StoreError::Malformed("it is not a list")),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    fn number(&mut self) -> Result<u64, StoreError> {
        match self.0.next() {
            Some(Value::Int(n)) => u64::try_from(n).map_err(|_| StoreError::Malformed("a number is below zero")),
            _ => Err(StoreError::Malformed("a number is missing")),
        }
    }

    fn small(&mut self) -> Result<u32, StoreError> {
        u32::try_from(self.number()?).map_err(|_| StoreError::Malformed("a number is too large"))
    }

    fn text(&mut self) -> Result<String, StoreError> {
        match self.0.next() {
            Some(Value::BulkString(bytes)) => String::from_utf8(bytes).map_err(|_| StoreError::Malformed("a text is not one")),
            Some(Value::SimpleString(text)) => Ok(text),
            _ => Err(StoreError::Malformed("a text is missing")),
        }
    }
}
