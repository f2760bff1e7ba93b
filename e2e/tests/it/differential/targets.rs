//! Request targets that readers have disagreed about, put together by chance from a seed.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Stands in a target for the host that the request is sent to.
pub(super) const HOST: &str = "HOST";

/// How targets begin. Most begin as they should, since what is refused at its first byte shows little.
const BEGINNINGS: &[&str] = &[
    "http://HOST",
    "HTTP://HOST",
    "https://HOST",
    "http://HOST:80",
    "http://HOST.",
    "http://user@HOST",
    "http://other.test",
    "http://HOST?",
    "http:",
    "http://",
    "ftp://HOST",
    "//HOST",
    "HOST:80",
    "@HOST",
    "?",
    "*",
    "\\",
    "a",
];

/// Pieces of a segment in which nothing is ambiguous, however it is spelled.
const TAME: &[&str] = &[
    "a",
    "Z9",
    "-_~",
    ".x",
    "x.",
    "a..b",
    "...",
    "%41",
    "%7e",
    "%2D",
    "%5f",
    "a%2e",
    "!$&'()*+,=",
    ":",
    "@",
    "http:",
    "x;v=1",
    "x;",
    "x;v=1;w",
    "x%3b",
    "x%3By",
    "%3A",
    "%3a",
    "%40",
    "%20",
    "+",
    "%2b",
    "%25",
    "%2520",
    "%253f",
    "%3f",
    "%3F",
    "%23",
    "%26",
    "%3d",
    "%c3%a9",
    "%C3%A9",
    "%e2%82%ac",
    "%F0%9F%98%80",
    "%EF%BC%8F",
    "%E2%80%AE",
    "{id}",
    "|",
    "[1]",
    "^",
    "`",
    "\"",
    "<>",
    "%5B",
];

/// Pieces that one reader takes for something else than another.
const WILD: &[&[u8]] = &[
    b"/",
    b"//",
    b".",
    b"..",
    b"/./",
    b"/../",
    b"%2e",
    b"%2E%2e",
    b".%2e",
    b"/%2e/",
    b"/.%2E/",
    b"/..;/",
    b"/..;x=1/",
    b"/;/",
    b"/;x/",
    b"/%3b/",
    b"..%3B",
    b"%2f",
    b"%2F",
    b"..%2f",
    b"\\",
    b"..\\",
    b"%5c",
    b"%5C",
    b"%00",
    b"%09",
    b"%0a",
    b"%0D",
    b"%7f",
    b"%",
    b"%2",
    b"%zz",
    b"%+f",
    b"%u002e",
    b"%252e",
    b"%252F",
    b"%25%32%66",
    b"%2561",
    b"%c0%af",
    b"%c0%ae",
    b"%ff",
    b"%ed%a0%80",
    b"#",
    b"#/../",
    b"\xc3\xa9",
    b"\xff",
];

/// Bytes that end a line, a word or a string for some.
const BREAKS: &[&[u8]] = &[b" ", b"\t", b"\0", b"\r", b"\x0b", b"\x7f", b"\x85"];

/// Pieces of a query.
const QUERY: &[&str] = &[
    "a=b",
    "&",
    "=",
    "?",
    "/",
    "/../",
    "//",
    "..%2f",
    "%2F",
    "%5c",
    "\\",
    "%00",
    "%",
    "%zz",
    "%41",
    "%c3%a9",
    "%ff",
    "+",
    "%20",
    ";",
    ":",
    "@",
    "'",
    "\"",
    "<",
    ">",
    "[1]",
    "{x}",
    "|^`",
    "http://other.test/",
];

/// `count` different targets.
pub(super) fn generate(seed: u64, count: usize) -> BTreeSet<Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut targets = BTreeSet::new();
    while targets.len() < count {
        targets.insert(target(&mut rng));
    }
    targets
}

fn target(rng: &mut StdRng) -> Vec<u8> {
    let mut target = Vec::new();
    if rng.random_ratio(1, 6) {
        target.extend_from_slice(one(rng, BEGINNINGS).as_bytes());
    }
    // A single wild piece among tame ones is what slips through; many of them hide each other.
    let wild = *one(rng, &[0, 0, 1, 1, 1, 8]);
    for _ in 0..rng.random_range(1..=4) {
        target.extend_from_slice(b"/");
        for _ in 0..rng.random_range(0..=3) {
            let piece = if rng.random_ratio(wild, 10) { wild_piece(rng) } else { one(rng, TAME).as_bytes() };
            target.extend_from_slice(piece);
        }
    }
    if rng.random_ratio(1, 3) {
        target.push(b'?');
        for _ in 0..rng.random_range(0..=4) {
            target.extend_from_slice(one(rng, QUERY).as_bytes());
        }
    }
    target
}

fn wild_piece(rng: &mut StdRng) -> &'static [u8] {
    let pieces = if rng.random_ratio(1, 12) { BREAKS } else { WILD };
    one::<&'static [u8]>(rng, pieces)
}

fn one<'c, T>(rng: &mut StdRng, choices: &'c [T]) -> &'c T {
    choices.choose(rng).expect("a list that is not empty")
}
