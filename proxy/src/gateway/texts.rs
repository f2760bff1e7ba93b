//! The words of one request that headers and the log repeat: one buffer, filled once.

use std::{fmt::Display, fmt::Write as _};

/// In the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    RequestId,
    Traceparent,
    /// What the access log says of query and headers, where it is asked to.
    Described,
    Host,
    Path,
    Address,
    AccountId,
    KeyId,
    Plan,
    /// Whom a token or a certificate is about.
    Subject,
}

const WORDS: usize = 10;

/// Being filled. What is not written is empty.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    all: String,
    ends: [u32; WORDS],
    next: usize,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { all: String::with_capacity(bytes), ..Self::default() }
    }

    /// Words come in the order of [`Word`]; one may be left out.
    pub(crate) fn put(&mut self, word: Word, text: impl Display) {
        self.put_with(word, |all| write!(all, "{text}").expect("a String takes everything"));
    }

    pub(crate) fn put_with(&mut self, word: Word, write: impl FnOnce(&mut String)) {
        let at = word as usize;
        debug_assert!(at >= self.next, "{word:?} is out of order");
        self.skip_to(at);
        write(&mut self.all);
        self.ends[at] = end_of(&self.all);
        self.next = at + 1;
    }

    pub(crate) fn done(mut self) -> Texts {
        self.skip_to(WORDS);
        Texts { all: self.all, ends: self.ends }
    }

    fn skip_to(&mut self, at: usize) {
        let end = end_of(&self.all);
        for skipped in &mut self.ends[self.next..at] {
            *skipped = end;
        }
    }
}

fn end_of(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// Filled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    all: String,
    ends: [u32; WORDS],
}

impl Texts {
    fn bounds(&self, word: Word) -> std::ops::Range<usize> {
        let at = word as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        start as usize..self.ends[at] as usize
    }

    /// `None` where it was not written.
    pub(crate) fn text(&self, word: Word) -> Option<&str> {
        self.all.get(self.bounds(word)).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_again_and_those_left_out_are_absent() {
        let mut writer = Writer::default();
        writer.put(Word::RequestId, "req_1");
        writer.put(Word::Host, "a.example");
        writer.put(Word::Plan, "pro");
        let texts = writer.done();
        assert_eq!(texts.text(Word::RequestId), Some("req_1"));
        assert_eq!(texts.text(Word::Traceparent), None);
        assert_eq!(texts.text(Word::Host), Some("a.example"));
        assert_eq!(texts.text(Word::KeyId), None);
        assert_eq!(texts.text(Word::Plan), Some("pro"));
        assert!(Texts::default().text(Word::Plan).is_none() && Texts::default().text(Word::Path).is_none());
    }
}
