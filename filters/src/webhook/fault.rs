//! What is wrong with a message, as far as that can be told.

/// Why a message is not right. The text is for people who set a receiver up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the header {0} is missing")]
    Missing(&'static str),
    #[error("the header {name} cannot be read: {why}")]
    Malformed { name: &'static str, why: &'static str },
    /// It is signed right.
    #[error(
        "the message was signed {age_s} s ago: older than {} s is taken for a repetition; is the receiver's clock right?",
        super::TOLERANCE_S
    )]
    TooOld { age_s: u64 },
    /// It is signed right.
    #[error("the message was signed {ahead_s} s in the future: is the receiver's clock right?")]
    TooNew { ahead_s: u64 },
    #[error("no secret was given to verify by")]
    NoSecret,
    #[error("the message carries no signature of the kind that the secret verifies: {wanted} is wanted")]
    NoSuchVersion { wanted: &'static str },
    /// The brand's signature is right, which covers the body alone.
    #[error("body and secret are right; webhook-id, webhook-timestamp or webhook-signature is not what was sent")]
    HeadChanged,
    /// A body that was not changed in this way would be right.
    #[error("the body was changed before it was verified: {0}; verify the bytes as they came in")]
    BodyChanged(Change),
    #[error("the signature is not that of this body by this secret: either is another than the sender's")]
    Mismatch,
}

/// What somebody's software has done to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Whitespace was added at its end or its beginning.
    Padded,
    /// Whitespace at its end was cut off.
    Trimmed,
    /// JSON was parsed and written again.
    Rewritten,
    /// Line ends were made those of another system.
    LineEnds,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Padded => "whitespace was added around it",
            Self::Trimmed => "the newline at its end was cut off",
            Self::Rewritten => "its JSON was parsed and written again",
            Self::LineEnds => "its line ends were changed",
        })
    }
}
