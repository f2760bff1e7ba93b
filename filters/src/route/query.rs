//! Reading a query's parameters for conditions, as forms write them: `+` is a space, and escapes are decoded.

use clearway_config::settings::gateway::conditions::Wanted;

/// Whether a query meets a condition on the parameter `name`.
pub(super) fn holds(query: &str, name: &str, wanted: &Wanted) -> bool {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(key, _)| says(key, name)).map(|(_, value)| value);
    match wanted {
        Wanted::Present => values.next().is_some(),
        Wanted::Exactly(text) => values.next().is_some_and(|value| says(value, text)) && values.next().is_none(),
    }
}

fn says(written: &str, text: &str) -> bool {
    decoded(written.as_bytes()).eq(text.bytes())
}

/// An escape that is none stands for itself.
fn decoded(mut written: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (byte, rest) = match written {
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (digit(*high) << 4 | digit(*low), rest)
            }
            [b'+', rest @ ..] => (b' ', rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => return None,
        };
        written = rest;
        Some(byte)
    })
}

/// Of a digit that has been looked at.
fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        _ => (hex | 0x20).wrapping_sub(b'a' - 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_compared_as_it_is_read() {
        let exactly = |text: &str| Wanted::Exactly(text.to_owned());
        for (query, holds_for) in [
            ("channel=beta", true),
            ("a=b&channel=beta&c", true),
            ("ch%61nnel=b%65ta", true),
            ("channel=beta&channel=beta", false),
            ("channel=stable&channel=beta", false),
            ("channel=betas", false),
            ("channel", false),
            ("xchannel=beta", false),
            ("Channel=beta", false),
            ("", false),
        ] {
            assert_eq!(holds(query, "channel", &exactly("beta")), holds_for, "{query}");
        }
        assert!(holds("q=a+b%20c", "q", &exactly("a b c")) && holds("q=%zz%4", "q", &exactly("%zz%4")));
        assert!(holds("q", "q", &Wanted::Present) && holds("q=1&q=2", "q", &Wanted::Present));
        assert!(!holds("p=q", "q", &Wanted::Present));
    }
}
