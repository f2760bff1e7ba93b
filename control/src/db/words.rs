//! Folding text into words for the full-text search of both engines: what is stored for searching, and what is searched for.

/// Words of a query that are looked at.
const WORDS_MAX: usize = 8;
/// Characters of a word that are looked at.
const WORD_CHARS_MAX: usize = 40;
/// Characters of a text that are searched.
const TEXT_CHARS_MAX: usize = 4_000;

/// Letters and digits in lower case, single blanks between words.
pub fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len().min(TEXT_CHARS_MAX));
    for word in words(text) {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(&word);
        if folded.len() >= TEXT_CHARS_MAX {
            break;
        }
    }
    folded
}

/// What is searched for, as each engine writes it: every word begins a word of the text. `None` where there is no word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    words: Vec<String>,
}

impl Wanted {
    /// [`WORDS_MAX`] words of `text` at most; `None` where it has none.
    pub fn read(text: &str) -> Option<Self> {
        let words: Vec<String> = words(text).take(WORDS_MAX).collect();
        (!words.is_empty()).then_some(Self { words })
    }

    /// An expression of FTS5; `column` narrows it.
    fn fts5(&self, column: Option<&str>) -> String {
        let prefix = column.map(|column| format!("{column} : ")).unwrap_or_default();
        // Quoted words hold letters and digits only: nothing of the language of queries.
        self.words.iter().map(|word| format!("{prefix}\"{word}\"*")).collect::<Vec<_>>().join(" AND ")
    }

    /// An expression of `to_tsquery`.
    fn tsquery(&self) -> String {
        self.words.iter().map(|word| format!("{word}:*")).collect::<Vec<_>>().join(" & ")
    }

    /// As this engine writes it. `column` narrows it to some of what FTS5 searches; for PostgreSQL the statement does that.
    pub fn expression(&self, engine: &str, column: Option<&str>) -> String {
        if engine == "sqlite" { self.fts5(column) } else { self.tsquery() }
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(WORD_CHARS_MAX).flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_folded_alike_where_they_are_stored_and_where_they_are_wanted() {
        assert_eq!(folded("Slack-Integration: Überall, v2.1!"), "slack integration überall v2 1");
        let wanted = Wanted::read("Slack  INT").unwrap();
        assert_eq!(wanted.expression("sqlite", None), "\"slack\"* AND \"int\"*");
        assert_eq!(wanted.expression("sqlite", Some("words_name")), "words_name : \"slack\"* AND words_name : \"int\"*");
        assert_eq!(wanted.expression("postgres", Some("words_name")), "slack:* & int:*");
        assert_eq!(Wanted::read(" -- \"' "), None);
    }

    proptest! {
        #[test]
        fn a_query_holds_nothing_but_letters_and_digits_of_what_was_typed(text in ".{0,200}") {
            if let Some(wanted) = Wanted::read(&text) {
                prop_assert!(wanted.words.len() <= WORDS_MAX);
                for word in &wanted.words {
                    prop_assert!(word.chars().all(char::is_alphanumeric), "{word:?}");
                }
            }
        }
    }
}
