//! Changing fields of a JSON body. What is not named stays as it was sent, byte for byte: numbers keep every digit,
//! members their order.

mod scan;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use clearway_config::settings::gateway::policy::json::{Fact, JsonEdit, Piece};
use http::{HeaderMap, header::CONTENT_TYPE};

pub use scan::DEPTH_MAX;

/// Why a body cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    NotJson,
    TooDeep,
    /// Which of the two counts is a matter of opinion.
    NameTwice,
    /// A field is to be set where there is no object, or no such place in an array.
    NoPlace,
}

impl Unusable {
    /// In a sentence: "The body …".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "is not JSON",
            Self::TooDeep => "is nested too deeply",
            Self::NameTwice => "has a name twice in one object",
            Self::NoPlace => "has no place for a field that is to be set",
        }
    }
}

/// Whether a message says that its body is JSON: `application/json`, or any type that ends in `+json`. Of several types
/// any will do.
pub fn is_json(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().any(|value| {
        let essence = value.as_bytes().split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
        let ends = |with: &[u8]| essence.len() >= with.len() && essence[essence.len() - with.len()..].eq_ignore_ascii_case(with);
        essence.eq_ignore_ascii_case(b"application/json") || ends(b"+json")
    })
}

/// Makes the changes, in their order. `known` is what is known of the request.
pub fn edit<'k>(body: &[u8], edits: &[JsonEdit], known: impl Fn(Fact) -> Option<&'k str>) -> Result<Vec<u8>, Unusable> {
    let text = std::str::from_utf8(body).map_err(|_| Unusable::NotJson)?;
    scan::check(text)?;
    let mut root = Node::Raw(Cow::Borrowed(text.trim_ascii()));
    for edit in edits {
        match edit {
            JsonEdit::Remove(pointer) => root.remove(pointer)?,
            JsonEdit::Rename(pointer, to) => root.rename(pointer, to)?,
            JsonEdit::Set(pointer, value) => root.set(pointer, || rendered(value, &known), true)?,
            JsonEdit::Add(pointer, value) => root.set(pointer, || rendered(value, &known), false)?,
        }
    }
    let mut out = String::with_capacity(body.len() + 64);
    root.write(&mut out);
    Ok(out.into_bytes())
}

/// A value, taken apart as far as a change has needed it.
#[derive(Debug)]
enum Node<'a> {
    /// As it stands in the text.
    Raw(Cow<'a, str>),
    Object(Vec<Field<'a>>),
    Array(Vec<Node<'a>>),
}

#[derive(Debug)]
struct Field<'a> {
    name: Cow<'a, str>,
    quoted: Cow<'a, str>,
    value: Node<'a>,
}

impl<'a> Field<'a> {
    fn new(name: &str, value: Node<'a>) -> Self {
        Self { name: name.to_owned().into(), quoted: quoted(name).into(), value }
    }
}

impl<'a> Node<'a> {
    /// Takes this value apart, one level deep.
    fn open(&mut self) -> Result<(), Unusable> {
        let opened = match self {
            Node::Raw(Cow::Borrowed(text)) => opened(text)?,
            // Made by an earlier change.
            Node::Raw(Cow::Owned(text)) => opened(text)?.map(Node::into_owned),
            Node::Object(_) | Node::Array(_) => None,
        };
        if let Some(opened) = opened {
            *self = opened;
        }
        Ok(())
    }

    fn into_owned<'o>(self) -> Node<'o> {
        match self {
            Node::Raw(text) => Node::Raw(Cow::Owned(text.into_owned())),
            Node::Array(elements) => Node::Array(elements.into_iter().map(Node::into_owned).collect()),
            Node::Object(fields) => {
                let owned = |f: Field<'_>| Field {
                    name: Cow::Owned(f.name.into_owned()),
                    quoted: Cow::Owned(f.quoted.into_owned()),
                    value: f.value.into_owned(),
                };
                Node::Object(fields.into_iter().map(owned).collect())
            }
        }
    }

    /// What bears that name, or stands at that place.
    fn child(&mut self, token: &str) -> Result<Option<&mut Node<'a>>, Unusable> {
        self.open()?;
        Ok(match self {
            Node::Object(fields) => fields.iter_mut().find(|field| field.name == token).map(|field| &mut field.value),
            Node::Array(elements) => index(token).and_then(|n| elements.get_mut(n)),
            Node::Raw(_) => None,
        })
    }

    /// What the last token of a pointer is looked for in.
    fn parent(&mut self, pointer: &[String]) -> Result<Option<&mut Node<'a>>, Unusable> {
        let mut node = self;
        for token in &pointer[..pointer.len().saturating_sub(1)] {
            match node.child(token)? {
                Some(child) => node = child,
                None => return Ok(None),
            }
        }
        node.open()?;
        Ok(Some(node))
    }

    fn remove(&mut self, pointer: &[String]) -> Result<(), Unusable> {
        let Some((parent, last)) = self.parent(pointer)?.zip(pointer.last()) else { return Ok(()) };
        match parent {
            Node::Object(fields) => fields.retain(|field| field.name != *last),
            Node::Array(elements) => {
                if let Some(n) = index(last).filter(|n| *n < elements.len()) {
                    elements.remove(n);
                }
            }
            Node::Raw(_) => {}
        }
        Ok(())
    }

    fn rename(&mut self, pointer: &[String], to: &str) -> Result<(), Unusable> {
        let Some((Node::Object(fields), last)) = self.parent(pointer)?.zip(pointer.last()) else { return Ok(()) };
        if fields.iter().any(|field| field.name == *last) {
            fields.retain(|field| field.name != to);
            for field in fields.iter_mut().filter(|field| field.name == *last) {
                (field.name, field.quoted) = (to.to_owned().into(), quoted(to).into());
            }
        }
        Ok(())
    }

    /// `replace`: also where there is a value already.
    fn set(&mut self, pointer: &[String], value: impl FnOnce() -> String, replace: bool) -> Result<(), Unusable> {
        let Some((last, way)) = pointer.split_last() else { return Err(Unusable::NoPlace) };
        let mut node = self;
        for token in way {
            if node.child(token)?.is_none() {
                let Node::Object(fields) = node else { return Err(Unusable::NoPlace) };
                fields.push(Field::new(token, Node::Object(Vec::new())));
            }
            node = node.child(token)?.ok_or(Unusable::NoPlace)?;
        }
        match node.child(last)? {
            Some(there) => {
                if replace {
                    *there = Node::Raw(Cow::Owned(value()));
                }
            }
            None => match node {
                Node::Object(fields) => fields.push(Field::new(last, Node::Raw(Cow::Owned(value())))),
                // RFC 6901, 4: behind the last element.
                Node::Array(elements) if last == "-" => elements.push(Node::Raw(Cow::Owned(value()))),
                Node::Array(_) | Node::Raw(_) => return Err(Unusable::NoPlace),
            },
        }
        Ok(())
    }

    fn write(&self, to: &mut String) {
        match self {
            Node::Raw(text) => to.push_str(text),
            Node::Object(fields) => {
                to.push('{');
                for (n, field) in fields.iter().enumerate() {
                    to.push_str(if n > 0 { "," } else { "" });
                    to.push_str(&field.quoted);
                    to.push(':');
                    field.value.write(to);
                }
                to.push('}');
            }
            Node::Array(elements) => {
                to.push('[');
                for (n, element) in elements.iter().enumerate() {
                    to.push_str(if n > 0 { "," } else { "" });
                    element.write(to);
                }
                to.push(']');
            }
        }
    }
}

/// `None` for what has nothing in it.
fn opened(text: &str) -> Result<Option<Node<'_>>, Unusable> {
    if let Some(members) = scan::members(text)? {
        return Ok(Some(Node::Object(members.into_iter().map(of_member).collect())));
    }
    let elements = scan::elements(text)?;
    Ok(elements.map(|elements| Node::Array(elements.into_iter().map(|e| Node::Raw(Cow::Borrowed(e))).collect())))
}

fn of_member(member: scan::Member<'_>) -> Field<'_> {
    Field { name: member.name, quoted: Cow::Borrowed(member.quoted), value: Node::Raw(Cow::Borrowed(member.value)) }
}

/// RFC 6901, 4: no leading zeros.
fn index(token: &str) -> Option<usize> {
    let fits = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    token.parse().ok().filter(|_| fits)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn rendered<'k>(value: &[Piece], known: &impl Fn(Fact) -> Option<&'k str>) -> String {
    let mut text = String::new();
    for piece in value {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Within(fact) => {
                let quoted = quoted(known(*fact).unwrap_or_default());
                text.push_str(&quoted[1..quoted.len() - 1]);
            }
            Piece::Whole(fact) => text.push_str(&known(*fact).map_or_else(|| "null".to_owned(), quoted)),
        }
    }
    text
}
