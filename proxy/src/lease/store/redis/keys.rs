//! What things are called in Redis.

use clearway_filters::lease::{SubjectId, call::Long};
use jiff::{Span, civil};

/// Names under one prefix.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn members(&self) -> String {
        format!("{}:{{fleet}}:members", self.prefix)
    }

    pub(super) fn incarnation(&self, bucket: u16) -> String {
        format!("{}:{{q{bucket}}}:incarnation", self.prefix)
    }

    pub(super) fn second(&self, bucket: u16, subject: SubjectId) -> String {
        format!("{}:{{q{bucket}}}:{subject}:second", self.prefix)
    }

    pub(super) fn slots(&self, bucket: u16, subject: SubjectId) -> String {
        format!("{}:{{q{bucket}}}:{subject}:concurrent", self.prefix)
    }

    /// Ends with the UTC date, or with the year and the month.
    pub(super) fn long(&self, bucket: u16, subject: SubjectId, long: Long, window: u32) -> String {
        let prefix = &self.prefix;
        match long {
            Long::Day => {
                // Days that a calendar does not reach are none that anybody asks about; they are told apart all the same.
                let date = civil::date(1970, 1, 1).checked_add(Span::new().days(window.min(2_000_000)));
                let date = date.map_or_else(|_| window.to_string(), |date| date.to_string());
                format!("{prefix}:{{q{bucket}}}:{subject}:day:{date}")
            }
            Long::Month => format!("{prefix}:{{q{bucket}}}:{subject}:month:{}-{:02}", window / 12, window % 12 + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use clearway_config::{AccountId, KeyId};

    use super::*;

    #[test]
    fn keys_name_subject_and_window_and_share_the_buckets_tag() {
        let keys = Keys::new("ratelimit");
        let (account, key) = (AccountId::from_bytes([0; 16]), KeyId::from_bytes([0; 16]));
        let day = keys.long(7, SubjectId::Account(account), Long::Day, 20_778);
        assert_eq!(day, format!("ratelimit:{{q7}}:{account}:day:2026-11-21"));
        let month = keys.long(7, SubjectId::Key(key), Long::Month, 2026 * 12 + 10);
        assert_eq!(month, format!("ratelimit:{{q7}}:{key}:month:2026-11"));
        assert_eq!(keys.members(), "ratelimit:{fleet}:members");
    }
}
