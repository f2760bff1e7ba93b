//! `clearway webhooks verify`: what is wrong with a message that a receiver will not take.

use std::{
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;
use clearway_filters::webhook::{Change, Fault, VerifyingSecret, verify};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::Fatal;

/// Bytes of a pasted message at most.
const MESSAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Secrets in the file at most.
const SECRETS_MAX: usize = 10;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A file that holds the secret, whsec_… or whpk_…, or several, one a line; without it the environment's
    /// CLEARWAY_WEBHOOK_SECRET is used.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The message: its headers, one a line, an empty line, and its body. Standard input without it.
    #[arg(value_name = "FILE")]
    message: Option<PathBuf>,
    /// The receiver's clock, in seconds since 1970: to verify a message that was recorded. Now without it.
    #[arg(long, value_name = "SECONDS")]
    at: Option<u64>,
}

#[expect(clippy::print_stdout, reason = "what a command answers goes to standard output")]
pub(super) fn run(args: &Verify) -> Result<(), Fatal> {
    let secrets = secrets(args)?;
    let message = match &args.message {
        Some(file) => std::fs::read(file).map_err(|e| Fatal::new(format!("{}: {e}", file.display())))?,
        None => read_paste()?,
    };
    let (headers, body) = split(&message)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    println!("{}", judge(&headers, body, &secrets, args.at.unwrap_or(now))?);
    Ok(())
}

fn read_paste() -> Result<Vec<u8>, Fatal> {
    if std::io::stdin().is_terminal() {
        eprintln!("Paste the headers, an empty line and the body; end with Ctrl-D.");
    }
    let mut message = Vec::new();
    std::io::stdin()
        .lock()
        .take(MESSAGE_BYTES_MAX)
        .read_to_end(&mut message)
        .map_err(|e| Fatal::new(format!("standard input: {e}")))?;
    Ok(message)
}

fn secrets(args: &Verify) -> Result<Vec<VerifyingSecret>, Fatal> {
    let text = match &args.secret_file {
        Some(file) => std::fs::read_to_string(file).map_err(|e| Fatal::new(format!("{}: {e}", file.display())))?,
        None => std::env::var("CLEARWAY_WEBHOOK_SECRET")
            .map_err(|_| Fatal::new("no secret: set CLEARWAY_WEBHOOK_SECRET or give --secret-file"))?,
    };
    let secrets = text.split_whitespace().take(SECRETS_MAX);
    secrets.map(|secret| secret.parse().map_err(|why| Fatal::new(format!("the secret cannot be read: {why}")))).collect()
}

/// Headers and body of a message as it was recorded. A request line in front is passed over.
fn split(message: &[u8]) -> Result<(HeaderMap, &[u8]), Fatal> {
    let mut headers = HeaderMap::new();
    let mut rest = message;
    let mut first = true;
    loop {
        let Some(end) = rest.iter().position(|&b| b == b'\n') else {
            return Err(Fatal::new("there is no empty line between the headers and the body"));
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        if line.is_empty() {
            return Ok((headers, rest));
        }
        let header = line.iter().position(|&b| b == b':').and_then(|at| {
            let name = HeaderName::from_bytes(line[..at].trim_ascii()).ok()?;
            Some((name, HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?))
        });
        match header {
            Some((name, value)) => drop(headers.append(name, value)),
            None if first => {}
            None => return Err(Fatal::new(format!("not a header: {}", String::from_utf8_lossy(line).escape_debug()))),
        }
        first = false;
    }
}

fn judge(headers: &HeaderMap, body: &[u8], secrets: &[VerifyingSecret], now: u64) -> Result<&'static str, Fatal> {
    match verify(headers, body, secrets, now) {
        Ok(()) => Ok("The message is right: a receiver that holds this secret takes it."),
        // Pasting adds one, and so does an editor that saves a file.
        Err(Fault::BodyChanged(Change::Padded)) if body.ends_with(b"\n") => {
            Ok("The message is right, but for whitespace around the body, which pasting it may have added.")
        }
        Err(fault) => Err(Fatal { message: fault.to_string(), status: 2 }),
    }
}

#[cfg(test)]
mod tests {
    use clearway_filters::webhook::{HmacSecret, Signer, SigningKey};

    use super::*;

    const NOW: u64 = 1_770_724_800;
    const BODY: &str = "{\"a\":1}";

    fn recorded(body: &str) -> (String, Vec<VerifyingSecret>) {
        let secret = HmacSecret::new(&[7; 32]).unwrap();
        let signer = Signer::new(vec![SigningKey::new(&secret, None, None)]);
        let signature = signer.sign("evt_1", NOW, BODY.as_bytes(), NOW * 1000).unwrap().standard;
        let signature = signature.to_str().unwrap();
        let text = format!(
            "POST /hook HTTP/1.1\r\nHost: example.com\r\nWebhook-Id: evt_1\r\nwebhook-timestamp: {NOW}\r\n\
             webhook-signature: {signature}\r\n\r\n{body}"
        );
        (text, vec![VerifyingSecret::Hmac(secret)])
    }

    fn say(body: &str, at: u64) -> Result<&'static str, String> {
        let (text, secrets) = recorded(body);
        let (headers, body) = split(text.as_bytes()).map_err(|e| e.message)?;
        judge(&headers, body, &secrets, at).map_err(|e| e.message)
    }

    #[test]
    fn a_recorded_request_is_right_whatever_the_case_of_its_headers() {
        assert!(say(BODY, NOW).unwrap().starts_with("The message is right:"));
    }

    #[test]
    fn a_newline_that_pasting_added_is_told_and_forgiven() {
        assert!(say(&format!("{BODY}\n"), NOW).unwrap().contains("pasting"));
    }

    #[test]
    fn what_was_done_to_a_body_is_named() {
        assert!(say("{ \"a\": 1 }", NOW).unwrap_err().contains("parsed and written again"));
        assert!(say(BODY, NOW + 600).unwrap_err().contains("600 s ago"));
        assert!(say("{}", NOW).unwrap_err().contains("not that of this body"));
    }

    #[test]
    fn what_is_no_message_is_said_to_be_none() {
        assert!(split(b"webhook-id: a\nwebhook-timestamp: 1\n").is_err());
        assert!(split(b"POST / HTTP/1.1\nwebhook-id: a\nnonsense\n\n").is_err());
    }
}
