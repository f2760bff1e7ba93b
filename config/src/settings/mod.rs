//! Settings: raw TOML as written, resolved once into types that cannot be wrong.
//!
//! Three files: `clearway.toml` (how the processes run), `gateway.toml` (routes and upstreams,
//! re-read when it changes) and `plans.toml`. An unknown word is an error, never a default, and every
//! error names file, line and key.

pub mod fault;
pub mod gateway;
pub mod plans;
pub mod process;
mod size;

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

pub use fault::Fault;
use fault::Step;
pub use gateway::{Auth, Document, Gateway, Route, Upstream, UpstreamAddress};
pub use plans::{Plan, Plans};
pub use process::{MailSettings, Mode, Settings};

/// Bytes in a settings file at most.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What is wrong with a settings file, in one line: `gateway.toml:12: routes.path: must start with /`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    pub file: PathBuf,
    pub line: Option<usize>,
    pub key: Option<String>,
    pub message: String,
}

impl std::error::Error for SettingsError {}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// One settings file's text, for turning positions into lines.
#[derive(Debug)]
pub struct Source {
    file: PathBuf,
    text: String,
}

impl Source {
    pub fn new(file: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { file: file.into(), text: text.into() }
    }

    /// Reads a file of at most [`FILE_BYTES_MAX`].
    pub fn read(file: &Path) -> Result<Self, SettingsError> {
        let fault = |message: String| SettingsError { file: file.to_owned(), line: None, key: None, message };
        let length = std::fs::metadata(file).map_err(|e| fault(format!("cannot be read: {e}")))?.len();
        if length > FILE_BYTES_MAX {
            return Err(fault(format!("is larger than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(file).map_err(|e| fault(format!("cannot be read: {e}")))?;
        Ok(Self::new(file, text))
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is nothing in it, as in a file that is just being written.
    pub fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// A mistake that is no place's but the whole file's.
    pub fn fault_in_all(&self, message: impl Into<String>) -> SettingsError {
        SettingsError { file: self.file.clone(), line: None, key: None, message: message.into() }
    }

    /// As a gateway's document; not checked beyond its words.
    pub fn document(&self) -> Result<Document, SettingsError> {
        self.parse()
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        toml::from_str(&self.text).map_err(|e| SettingsError {
            file: self.file.clone(),
            line: e.span().map(|span| self.line_of(&span)),
            key: e.span().and_then(|span| self.key_at(&span)),
            message: e.message().trim().replace('\n', " "),
        })
    }

    fn fault(&self, span: &Range<usize>, key: &str, message: impl Into<String>) -> SettingsError {
        SettingsError {
            file: self.file.clone(),
            line: Some(self.line_of(span)),
            key: Some(key.to_owned()),
            // Names from the file may hold anything; an error is one line.
            message: message.into().replace(char::is_control, " "),
        }
    }

    /// The same mistake with this file and the line of its place.
    pub fn located(&self, fault: &Fault) -> SettingsError {
        SettingsError {
            file: self.file.clone(),
            line: self.span_of(fault.place()).map(|span| self.line_of(&span)),
            key: Some(fault.key()),
            message: fault.message().to_owned(),
        }
    }

    /// Where a place is written, or as much of the way there as is.
    fn span_of(&self, place: &[Step]) -> Option<Range<usize>> {
        let table = DeTable::parse(&self.text).ok()?;
        let mut span = None;
        let mut value: Option<&DeValue<'_>> = None;
        for step in place {
            let next = match (step, value) {
                (Step::Key(key), None) => table.get_ref().get(key.as_str()),
                (Step::Key(key), Some(DeValue::Table(table))) => table.get(key.as_str()),
                (Step::Index(index), Some(DeValue::Array(array))) => array.get(*index),
                _ => None,
            };
            let Some(next) = next else { break };
            span = Some(next.span());
            value = Some(next.get_ref());
        }
        span
    }

    fn line_of(&self, span: &Range<usize>) -> usize {
        let start = span.start.min(self.text.len());
        self.text.as_bytes()[..start].iter().filter(|&&b| b == b'\n').count() + 1
    }

    /// The key that stands before the value at `span`, on the same line.
    fn key_at(&self, span: &Range<usize>) -> Option<String> {
        let line = self.text.lines().nth(self.line_of(span) - 1)?;
        let (key, _) = line.split_once('=')?;
        let key = key.trim();
        (!key.is_empty() && !key.starts_with('#')).then(|| key.to_owned())
    }
}

/// Deserialises a duration from text such as `"30s"` or `"250ms"`.
pub(crate) mod duration {
    pub(crate) use humantime_serde::deserialize;
}
