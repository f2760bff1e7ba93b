//! What is wrong inside a document, and where: by keys and indices, so that one check serves a TOML file,
//! a JSON body and what was synced. A file turns the place into a line.

use std::fmt;

/// One step from a document's root to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A mistake and its place: `routes[3].path: must start with /`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    place: Vec<Step>,
    message: String,
}

impl Fault {
    pub fn new(message: impl Into<String>) -> Self {
        // Names from a document may hold anything; an error is one line.
        Self { place: Vec::new(), message: message.into().replace(char::is_control, " ") }
    }

    /// A mistake in the value of `key`.
    pub fn at(key: &str, message: impl Into<String>) -> Self {
        Self::new(message).within(key)
    }

    /// The same mistake, seen from one step further out.
    #[must_use]
    pub fn within(mut self, step: impl Into<Step>) -> Self {
        self.place.insert(0, step.into());
        self
    }

    pub fn place(&self) -> &[Step] {
        &self.place
    }

    /// The place without indices, as it is written in a file: `routes.path`.
    pub fn key(&self) -> String {
        let keys: Vec<_> =
            self.place.iter().filter_map(|step| if let Step::Key(key) = step { Some(key.as_str()) } else { None }).collect();
        keys.join(".")
    }

    /// The place in full: `routes[3].path`.
    pub fn place_text(&self) -> String {
        let mut text = String::new();
        for step in &self.place {
            match step {
                Step::Key(key) if text.is_empty() => text.push_str(key),
                Step::Key(key) => text.extend([".", key]),
                Step::Index(index) => text += &format!("[{index}]"),
            }
        }
        text
    }

    /// Without the first `steps` of its place: what a part of a document sees.
    #[must_use]
    pub fn inside(mut self, steps: usize) -> Self {
        self.place.drain(..steps.min(self.place.len()));
        self
    }

    pub fn message(&self) -> &str {
        &self.message
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place_text())?;
        if !self.place.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

/// Puts a place around what a nested check found.
pub(crate) trait Within<T> {
    fn within(self, step: impl Into<Step>) -> Result<T, Fault>;
}

impl<T> Within<T> for Result<T, Fault> {
    fn within(self, step: impl Into<Step>) -> Result<T, Fault> {
        self.map_err(|fault| fault.within(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_its_place_from_the_outside_in() {
        let fault = Fault::at("path", "must start\nwith /").within(3).within("routes");
        assert_eq!(fault.to_string(), "routes[3].path: must start with /");
        assert_eq!(fault.key(), "routes.path");
        assert_eq!(Fault::new("empty").to_string(), "empty");
    }
}
