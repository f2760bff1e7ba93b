//! Passwords that are not taken: too short or long, those that everybody tries first, and what an attacker knows
//! already. Nothing is asked for beyond that: no digits, no capitals (NIST SP 800-63B, 3.1.1.2).

/// Characters in a password.
pub const CHARS_MIN: usize = 8;
pub const CHARS_MAX: usize = 128;

/// Words that passwords are commonly made of, in order: what is left of a password without its digits and signs.
const COMMON: &str = include_str!("common.txt");
/// Keys beside each other, and the alphabet, forwards; runs of them are looked for backwards too.
const ROWS: &[&str] = &[
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qazwsxedcrfvtgbyhnujm",
    "1q2w3e4r5t6y7u8i9o0p",
];

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    #[error("must have {CHARS_MIN} to {CHARS_MAX} characters")]
    Length,
    #[error("is one of the passwords that are tried first; use several words, or a password manager")]
    Common,
    #[error("must not be made of the address or the name")]
    Personal,
}

/// Whether a password may be a person's who is known by these words (address, name).
pub fn check(password: &str, words: &[&str]) -> Result<(), Weak> {
    if !(CHARS_MIN..=CHARS_MAX).contains(&password.chars().count()) {
        return Err(Weak::Length);
    }
    let lower = password.to_lowercase();
    if is_common(&lower) {
        return Err(Weak::Common);
    }
    let bare: String = lower.chars().filter(|c| c.is_alphanumeric()).collect();
    let personal = words.iter().flat_map(|word| parts(word)).any(|part| {
        // What remains beside the known part is too little to guess for long.
        bare.contains(&part) && bare.chars().count() < part.chars().count() + 4
    });
    if personal { Err(Weak::Personal) } else { Ok(()) }
}

/// An address or name, whole, and each of its parts that is long enough to be a password's body.
fn parts(word: &str) -> Vec<String> {
    let lower = word.to_lowercase();
    let whole: String = lower.chars().filter(|c| c.is_alphanumeric()).collect();
    let halves = lower.split(|c: char| !c.is_alphanumeric()).map(str::to_owned);
    halves.chain([whole]).filter(|part| part.chars().count() >= 4).collect()
}

fn is_common(lower: &str) -> bool {
    let listed = |word: &str| COMMON.lines().any(|line| line == word);
    let plain: String = lower.chars().map(letter).collect();
    let bodies = [lower, plain.as_str()];
    let trimmed = bodies.map(|body| body.trim_matches(|c: char| !c.is_alphabetic()));
    // Digits at the end of `plain` have become letters: they are cut before.
    let cut: String = lower.trim_matches(|c: char| !c.is_alphabetic()).chars().map(letter).collect();
    bodies.iter().chain(&trimmed).chain([&cut.as_str()]).any(|body| listed(body)) || is_repeated(lower) || is_run(lower)
}

/// The letter that a digit or a sign commonly stands for.
fn letter(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        _ => c,
    }
}

/// Up to four characters again and again.
fn is_repeated(lower: &str) -> bool {
    let chars: Vec<char> = lower.chars().collect();
    (1..=4).any(|period| chars.iter().zip(&chars[period.min(chars.len())..]).all(|(one, next)| one == next))
}

/// Keys beside each other, in pieces of three or more with nothing between.
fn is_run(lower: &str) -> bool {
    let rows: Vec<String> = ROWS.iter().flat_map(|row| [(*row).to_owned(), row.chars().rev().collect()]).collect();
    let mut rest = lower;
    while !rest.is_empty() {
        let cuts = rest.char_indices().map(|(at, c)| at + c.len_utf8());
        let longest = cuts.take(24).filter(|&cut| rows.iter().any(|row| row.contains(&rest[..cut]))).max();
        match longest {
            Some(cut) if cut >= 3 => rest = &rest[cut..],
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_in_lower_case() {
        let lines: Vec<_> = COMMON.lines().collect();
        assert!(lines.len() > 300, "{}", lines.len());
        assert!(lines.is_sorted_by(|a, b| a < b), "sort -u common.txt");
        assert!(lines.iter().all(|line| line.len() >= 3 && *line == line.to_lowercase()));
    }

    #[test]
    fn what_is_tried_first_is_not_taken() {
        for common in [
            "password",
            "Password1!",
            "p@ssw0rd",
            "P4ssw0rd2024",
            "12345678",
            "123456789",
            "qwertyuiop",
            "1q2w3e4r",
            "qwerty123",
            "iloveyou",
            "letmein123",
            "aaaaaaaa",
            "abcabcabc",
            "abcdefgh",
            "87654321",
            "Welcome2025",
            "admin123!",
            "changeme1",
            "football99",
            "Dragon12345",
            "trustno1",
            "zaq12wsx",
            "clearway1",
        ] {
            assert_eq!(check(common, &[]), Err(Weak::Common), "{common}");
        }
    }

    #[test]
    fn what_says_who_one_is_is_not_taken() {
        let ann = ["ann.miller@example.com", "Ann Miller"];
        for own in ["ann.miller@example.com", "annmiller1", "Miller12", "ann.miller"] {
            assert_eq!(check(own, &ann), Err(Weak::Personal), "{own}");
        }
        assert_eq!(check("millers own staple", &ann), Ok(()));
    }

    #[test]
    fn only_length_is_asked_for_besides() {
        assert_eq!(check("short 7", &[]), Err(Weak::Length));
        assert_eq!(check(&"x1y".repeat(43), &[]), Err(Weak::Length));
        for good in ["correct horse battery", "ünïcödé wörds", "tr0ub4dor&3x", "kjhkwerz8", "passwords are hard to think of"]
        {
            assert_eq!(check(good, &[]), Ok(()), "{good}");
        }
    }
}
