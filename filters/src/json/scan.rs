//! Where the values of a JSON text (RFC 8259) begin and end. Nothing is converted: a number is the text that it was
//! sent as. Strict, because whoever reads the text next must read the same: no name twice in one object, no text
//! that only some parsers take.

use std::{borrow::Cow, collections::HashSet};

use super::Unusable;

/// Arrays and objects within one another at most.
pub const DEPTH_MAX: usize = 128;
/// Names of an object up to here are compared one by one.
const FEW: usize = 16;

#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// A member of an object.
#[derive(Debug)]
pub(super) struct Member<'a> {
    /// Decoded.
    pub(super) name: Cow<'a, str>,
    /// As it stands, quotes included.
    pub(super) quoted: &'a str,
    pub(super) value: &'a str,
}

/// Makes sure that `text` is one JSON value and nothing else but spaces.
pub(super) fn check(text: &str) -> Result<(), Unusable> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.value(0, &mut |_| {}, &mut |_| {})?;
    scanner.spaces();
    if scanner.at == text.len() { Ok(()) } else { Err(Unusable::NotJson) }
}

/// The members of an object, in their order. `None` for any other value.
pub(super) fn members(text: &str) -> Result<Option<Vec<Member<'_>>>, Unusable> {
    let mut members = Vec::new();
    let is_object = text.trim_ascii_start().starts_with('{');
    if is_object {
        Scanner { text, at: 0 }.value(0, &mut |member| members.push(member), &mut |_| {})?;
    }
    Ok(is_object.then_some(members))
}

/// The elements of an array. `None` for any other value.
pub(super) fn elements(text: &str) -> Result<Option<Vec<&str>>, Unusable> {
    let mut elements = Vec::new();
    let is_array = text.trim_ascii_start().starts_with('[');
    if is_array {
        Scanner { text, at: 0 }.value(0, &mut |_| {}, &mut |element| elements.push(element))?;
    }
    Ok(is_array.then_some(elements))
}

impl<'a> Scanner<'a> {
    /// Passes over a value, and tells what is directly in it.
    fn value(
        &mut self,
        depth: usize,
        member: &mut dyn FnMut(Member<'a>),
        element: &mut dyn FnMut(&'a str),
    ) -> Result<(), Unusable> {
        self.spaces();
        match self.peek() {
            Some(b'{') => self.object(depth, member),
            Some(b'[') => self.array(depth, element),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let word = ["true", "false", "null"].into_iter().find(|word| self.text[self.at..].starts_with(word));
                self.at += word.ok_or(Unusable::NotJson)?.len();
                Ok(())
            }
        }
    }

    /// A value within another one; says where it stands.
    fn inner(&mut self, depth: usize) -> Result<&'a str, Unusable> {
        if depth >= DEPTH_MAX {
            return Err(Unusable::TooDeep);
        }
        self.spaces();
        let from = self.at;
        self.value(depth + 1, &mut |_| {}, &mut |_| {})?;
        Ok(&self.text[from..self.at])
    }

    fn object(&mut self, depth: usize, member: &mut dyn FnMut(Member<'a>)) -> Result<(), Unusable> {
        let mut names = Names::default();
        self.at += 1;
        self.spaces();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.spaces();
            if self.peek() != Some(b'"') {
                return Err(Unusable::NotJson);
            }
            let quoted = self.string()?;
            let name = unquoted(quoted)?;
            self.spaces();
            if !self.take(b':') {
                return Err(Unusable::NotJson);
            }
            if !names.insert(name.clone()) {
                return Err(Unusable::NameTwice);
            }
            let value = self.inner(depth)?;
            member(Member { name, quoted, value });
            self.spaces();
            match (self.take(b','), self.take(b'}')) {
                (true, false) => {}
                (false, true) => return Ok(()),
                _ => return Err(Unusable::NotJson),
            }
        }
    }

    fn array(&mut self, depth: usize, element: &mut dyn FnMut(&'a str)) -> Result<(), Unusable> {
        self.at += 1;
        self.spaces();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            element(self.inner(depth)?);
            self.spaces();
            match (self.take(b','), self.take(b']')) {
                (true, false) => {}
                (false, true) => return Ok(()),
                _ => return Err(Unusable::NotJson),
            }
        }
    }

    /// At a quote; says what stands there, quotes included.
    fn string(&mut self) -> Result<&'a str, Unusable> {
        let from = self.at;
        self.at += 1;
        loop {
            match self.next()? {
                b'"' => return Ok(&self.text[from..self.at]),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            if !self.next()?.is_ascii_hexdigit() {
                                return Err(Unusable::NotJson);
                            }
                        }
                    }
                    _ => return Err(Unusable::NotJson),
                },
                0..0x20 => return Err(Unusable::NotJson),
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Result<(), Unusable> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Unusable> {
        let rest = &self.text.as_bytes()[self.at..];
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += digits;
        if digits > 0 { Ok(()) } else { Err(Unusable::NotJson) }
    }

    fn spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Unusable> {
        let next = self.peek().ok_or(Unusable::NotJson)?;
        self.at += 1;
        Ok(next)
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }
}

/// What a string says. One that says half a character is refused: parsers differ on what it is.
fn unquoted(quoted: &str) -> Result<Cow<'_, str>, Unusable> {
    if quoted.contains('\\') {
        return serde_json::from_str(quoted).map(Cow::Owned).map_err(|_| Unusable::NotJson);
    }
    Ok(Cow::Borrowed(&quoted[1..quoted.len() - 1]))
}

/// The names of one object.
#[derive(Debug, Default)]
struct Names<'n> {
    few: Vec<Cow<'n, str>>,
    many: HashSet<Cow<'n, str>>,
}

impl<'n> Names<'n> {
    /// Whether it is new.
    fn insert(&mut self, name: Cow<'n, str>) -> bool {
        if self.few.contains(&name) {
            return false;
        }
        if self.few.len() < FEW {
            self.few.push(name);
            return true;
        }
        self.many.insert(name)
    }
}
