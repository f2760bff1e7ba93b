//! The cases as they stand in `e2e/corpus`, read and checked; `README.md` there describes the format.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clearway_config::{Environment, PlainKey};
use ring::{digest, hmac};
use serde::Deserialize;

use super::frames;

/// The host of a request that is given by its target or header alone.
const HOST: &str = "gateway.test";

/// One connection's worth of bytes, and what has to become of them.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// `file: name`.
    pub(crate) name: String,
    /// Where the rule stands, or who was caught.
    pub(crate) why: String,
    /// With placeholders and escapes still in it.
    text: String,
    /// Of every answer on the connection, in order.
    pub(crate) expect: Vec<Verdict>,
    /// Header lines that the upstream must be sent.
    pub(crate) present: Vec<String>,
    /// What must stand nowhere in what the upstream is sent.
    pub(crate) never: Vec<String>,
    /// The body that the upstream must read.
    pub(crate) body: Option<Vec<u8>>,
    /// What the upstream must read through the tunnel.
    pub(crate) tunnelled: Option<Vec<u8>>,
    /// The client stops sending after its bytes.
    pub(crate) ends: bool,
    /// It lists frames, not lines.
    pub(crate) is_h2: bool,
}

/// What may become of a request: one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict(Vec<Way>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// Reaches the upstream once, with this method and target.
    Pass { method: String, target: String },
    /// Is answered so, and nothing of it reaches the upstream.
    Refused(u16),
    /// The connection ends without an answer, and nothing reaches the upstream.
    Closed,
    /// Its head is in order and its body turns out not to be: the upstream never has the whole of it, and
    /// the client has 400 or a closed connection.
    Cut,
}

/// What stands for itself in a case, and is different in every run.
#[derive(Debug, Clone)]
pub(crate) struct Secrets<'s> {
    /// The case's own key.
    pub(crate) key: &'s str,
    /// Another valid key.
    pub(crate) other: &'s str,
    /// What the case signs by, if it does.
    pub(crate) signs: Option<Signs<'s>>,
}

/// The id of a case's key, and its signing secret in base64.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signs<'s> {
    pub(crate) key_id: &'s str,
    pub(crate) secret: &'s str,
    pub(crate) now_s: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Raw>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    why: String,
    bytes: Option<String>,
    target: Option<String>,
    header: Option<String>,
    frames: Option<String>,
    expect: OneOrMore,
    #[serde(default)]
    present: Vec<String>,
    #[serde(default)]
    never: Vec<String>,
    body: Option<String>,
    tunnelled: Option<String>,
    #[serde(default)]
    ends: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Default for OneOrMore {
    fn default() -> Self {
        OneOrMore::One("pass".to_owned())
    }
}

/// Every case of every file, in order.
pub(crate) fn load() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> = std::fs::read_dir(&dir).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let theme = file.file_stem().expect("a file's name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let parsed: File = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        cases.extend(parsed.case.into_iter().map(|raw| Case::check(&theme, raw)));
    }
    let mut names: Vec<_> = cases.iter().map(|case| case.name.clone()).collect();
    names.sort();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(twice.is_empty(), "two cases of one name: {twice:?}");
    cases
}

impl Case {
    /// A plain request, to see that the gateway is still there.
    pub(crate) fn control() -> Self {
        let raw = Raw { target: Some("/svc/control".into()), ..Raw::default() };
        Self::check("control", Raw { name: "a plain request".into(), why: "-".into(), ..raw })
    }

    /// Whether its key is to require signatures.
    pub(crate) fn signs(&self) -> bool {
        self.text.contains("{{keyid}}")
    }

    /// Every request target in it, with the corpus's host replaced by `host`.
    pub(crate) fn targets(&self, host: &str) -> Vec<Vec<u8>> {
        let bytes = self.bytes(&Secrets { key: "a key", other: "another key", signs: Some(NOBODY) });
        let lines = bytes.split(|&byte| byte == b'\n').filter_map(|line| {
            let end = line.windows(8).rposition(|window| window == b" HTTP/1.")?;
            let start = 1 + line[..end].iter().position(|&byte| byte == b' ')?;
            line[..start - 1].iter().all(u8::is_ascii_uppercase).then(|| replaced(&line[start..end], HOST, host))
        });
        lines.collect()
    }

    /// Whether its answers have no body.
    pub(crate) fn asks_for_head(&self) -> bool {
        self.text.starts_with("HEAD ")
    }

    /// Whether the upstream is to be sent this header.
    pub(crate) fn asks_for(&self, name: &str, value: &str) -> bool {
        self.present.iter().filter_map(|line| line.split_once(": ")).any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
    }

    fn check(theme: &str, raw: Raw) -> Self {
        let name = format!("{theme}: {}", raw.name);
        let authority = format!("Host: {HOST}\nAuthorization: Bearer {{{{key}}}}\n");
        let is_h2 = raw.frames.is_some();
        let text = match (raw.bytes.or(raw.frames), raw.target, raw.header) {
            (Some(bytes), None, None) => bytes,
            (None, Some(target), None) => format!("GET {target} HTTP/1.1\n{authority}\n"),
            (None, None, Some(header)) => format!("GET /svc/a HTTP/1.1\n{authority}{}\n\n", header.trim_end_matches('\n')),
            _ => panic!("{name}: needs one of `bytes`, `target`, `header` and `frames`"),
        };
        let expect = match raw.expect {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        };
        let expect: Vec<_> =
            expect.iter().map(|verdict| Verdict::parse(verdict, &text).unwrap_or_else(|| panic!("{name}: {verdict}"))).collect();
        assert!(!raw.why.is_empty() && !expect.is_empty(), "{name}: says neither why nor what");
        Self {
            name,
            why: raw.why,
            text,
            expect,
            present: raw.present,
            never: raw.never,
            body: raw.body.map(|body| unescape(&body)),
            tunnelled: raw.tunnelled.map(|bytes| unescape(&bytes)),
            ends: raw.ends,
            is_h2,
        }
    }

    /// What is sent.
    pub(crate) fn bytes(&self, secrets: &Secrets<'_>) -> Vec<u8> {
        if self.is_h2 {
            return frames::bytes(&fill(&self.text, Some(secrets)), unescape);
        }
        let mut lines = String::with_capacity(self.text.len() + 64);
        for line in self.text.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => match line.strip_suffix('\\') {
                    Some(joined) => lines.push_str(joined),
                    None => lines.extend([line, "\\r\\n"]),
                },
                None => lines.push_str(line),
            }
        }
        unescape(&fill(&lines, Some(secrets)))
    }
}

impl Verdict {
    /// What an answer, or none, says has happened.
    pub(crate) fn fulfilled_by(&self, status: Option<u16>) -> Option<&Way> {
        self.0.iter().find(|way| match way {
            Way::Pass { .. } => matches!(status, Some(200 | 101)),
            Way::Refused(with) => status == Some(*with),
            Way::Closed => status.is_none(),
            Way::Cut => matches!(status, None | Some(400)),
        })
    }

    fn parse(said: &str, text: &str) -> Option<Self> {
        said.split(" or ").map(|way| Way::parse(way, text)).collect::<Option<_>>().map(Self)
    }
}

impl Way {
    /// `pass` alone stands for the method and target of the first request line in `text`.
    fn parse(said: &str, text: &str) -> Option<Self> {
        let words: Vec<_> = said.split(' ').collect();
        Some(match words[..] {
            ["pass"] => {
                // In frames, as `@` asks for it.
                let mut words = text.split_once("@ ").map_or(text, |(_, asked)| asked).split([' ', '\n']);
                Way::Pass { method: words.next()?.to_owned(), target: fill(words.next()?, None) }
            }
            ["pass", method, target] => Way::Pass { method: method.to_owned(), target: target.to_owned() },
            ["cut"] => Way::Cut,
            ["closed"] => Way::Closed,
            [status] => Way::Refused(status.parse().ok()?),
            _ => return None,
        })
    }
}

/// `bytes` with every `old` made `new`.
pub(crate) fn replaced(bytes: &[u8], old: &str, new: &str) -> Vec<u8> {
    let mut all = Vec::with_capacity(bytes.len() + new.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(old.len()).position(|window| window == old.as_bytes()) {
        all.extend_from_slice(&rest[..at]);
        all.extend_from_slice(new.as_bytes());
        rest = &rest[at + old.len()..];
    }
    all.extend_from_slice(rest);
    all
}

/// Puts in what stands between double braces, the innermost first.
fn fill(text: &str, secrets: Option<&Secrets<'_>>) -> String {
    let mut text = text.to_owned();
    while let Some(end) = text.find("}}") {
        let start = text[..end].rfind("{{").unwrap_or_else(|| panic!("`}}}}` without its beginning in {text}"));
        let word = &text[start + 2..end];
        let put = match (word, secrets) {
            ("key", Some(secrets)) => secrets.key.to_owned(),
            ("key.cut", Some(secrets)) => secrets.key[..secrets.key.len() - 1].to_owned(),
            ("key.upper", Some(secrets)) => secrets.key.to_ascii_uppercase(),
            // In good form, and nobody ever made it.
            ("key.unknown", _) => PlainKey::mint(Environment::Live, [7; 32]).reveal().to_owned(),
            ("other", Some(secrets)) => secrets.other.to_owned(),
            (word, Some(Secrets { signs: Some(signs), .. })) if signs.says(word).is_some() => {
                signs.says(word).unwrap_or_default()
            }
            _ => {
                let (times, what) = word.split_once('*').unwrap_or_else(|| panic!("what is {word}?"));
                let times: usize = times.parse().unwrap_or_else(|e| panic!("{word}: {e}"));
                (0..times).map(|n| what.replace('#', &n.to_string())).collect()
            }
        };
        text.replace_range(start..end + 2, &put);
    }
    text
}

/// Where nobody verifies what is signed.
const NOBODY: Signs<'static> = Signs { key_id: "key_0000000000000000000001", secret: "AAAA", now_s: 0 };

impl Signs<'_> {
    /// What a word of the signatures stands for: `keyid`, `now`, `now-3600`, `sha256 text`, `mac base`.
    fn says(&self, word: &str) -> Option<String> {
        let (word, rest) = word.split_once(' ').unwrap_or((word, ""));
        match word {
            "keyid" => Some(self.key_id.to_owned()),
            // A second ahead: what was signed before the gateway started is refused.
            "now" => Some((self.now_s + 1).to_string()),
            "sha256" => Some(STANDARD.encode(digest::digest(&digest::SHA256, rest.as_bytes()))),
            "mac" => {
                let secret = STANDARD.decode(self.secret).expect("a signing secret in base64");
                let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), rest.replace('|', "\n").as_bytes());
                Some(STANDARD.encode(mac))
            }
            _ => Some(self.now_s.saturating_sub(word.strip_prefix("now-")?.parse().ok()?).to_string()),
        }
    }
}

/// `\r`, `\n`, `\t`, `\0`, `\\` and `\xNN`; every other character is itself, and has to be of ASCII.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        assert!(byte.is_ascii(), "write other bytes than ASCII as \\xNN: {text}");
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [rest.next().unwrap_or(b'?'), rest.next().unwrap_or(b'?')];
                let digits = std::str::from_utf8(&digits).unwrap_or("?");
                u8::from_str_radix(digits, 16).unwrap_or_else(|e| panic!("\\x{digits}: {e}"))
            }
            other => panic!("an unknown escape {:?} in {text}", other.map(char::from)),
        });
    }
    bytes
}

#[test]
fn a_case_is_sent_as_it_is_written() {
    let secrets = Secrets { key: "K1", other: "K2", signs: Some(NOBODY) };
    let sent = |bytes: &str| {
        let raw = Raw { name: "x".into(), why: "y".into(), bytes: Some(bytes.into()), ..Raw::default() };
        Case::check("t", raw).bytes(&secrets)
    };
    assert_eq!(sent("GET / HTTP/1.1\nX: {{key}}\n\nbo\\\ndy\\\n"), b"GET / HTTP/1.1\r\nX: K1\r\n\r\nbody");
    assert_eq!(sent("G /x \\x00\\xff\\n\\r\\0\\t{{2*a#\\r\\n}}{{other}}{{key.cut}}"), b"G /x \0\xff\n\r\0\ta0\r\na1\r\nK2K");
    assert_eq!(sent("G /x\\\\{a}"), b"G /x\\{a}");
}
