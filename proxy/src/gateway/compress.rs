//! Compressing answers for the client that asked. The last thing that is done to a body: what is kept in the cache, or
//! changed by a policy, is not compressed.
//!
//! Pingora has a module for this; it takes the first coding that a client names, whatever its weight, and does not
//! know `no-transform`. The encoders are the same ones.

use std::io::{self, Write as _};

use bytes::Bytes;
use clearway_config::settings::gateway::policy::compression::{Coding, Level};
use clearway_filters::compression::{self, Decision};
use http::{
    HeaderName, HeaderValue, Method, Version,
    header::{ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING, VARY},
};
use pingora::{Error, ErrorType, OrErr as _, Result, http::ResponseHeader, proxy::Session};

use super::{exchange::Exchange, json};

/// What is looked back at, as a power of two. With the levels below, and by the encoders' own tables, it bounds the
/// memory of an answer under way to a few MiB.
const WINDOW: u32 = 19;
const BROTLI_BUFFER: usize = 4096;

/// An answer's body under way.
pub(super) struct Compressing {
    encoder: Encoder,
    /// What has come is sent on at once: the answer does not say how long it is, so that somebody may be waiting for it.
    at_once: bool,
}

enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Br(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

/// Settles whether an answer is compressed, and says so in its head.
pub(super) fn answer(answer: &mut ResponseHeader, session: &Session, exchange: &mut Exchange) -> Result<()> {
    let Some(policy) = exchange.route().map(|route| route.policy.clone()).filter(|_| !exchange.upgrade) else { return Ok(()) };
    let Some(settings) = &policy.compression else { return Ok(()) };
    let request = session.req_header();
    let accepted = compression::choose(settings, &request.headers);
    let coding = match compression::decide(settings, answer.status.as_u16(), &answer.headers, accepted) {
        Decision::Untouched => return Ok(()),
        Decision::Varies => return vary(answer),
        Decision::NotModified => {
            vary(answer)?;
            return json::weaken(answer);
        }
        Decision::Compressed(coding) => coding,
    };
    let at_once = exchange.gathered.is_none() && !answer.headers.contains_key(CONTENT_LENGTH);
    vary(answer)?;
    json::weaken(answer)?;
    for name in json::DIGESTS.iter().chain([&CONTENT_LENGTH, &ACCEPT_RANGES]) {
        answer.remove_header(name);
    }
    answer.insert_header(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()))?;
    if request.method == Method::HEAD {
        return Ok(());
    }
    if request.version != Version::HTTP_10 {
        answer.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    let encoder = Encoder::new(coding, settings.level).or_err(ErrorType::InternalError, "no encoder")?;
    exchange.compressing = Some(Box::new(Compressing { encoder, at_once }));
    Ok(())
}

/// A part of an answer's body, the last where `end`.
pub(super) fn answer_body(body: &mut Option<Bytes>, end: bool, exchange: &mut Exchange) -> Result<()> {
    let Some(mut compressing) = exchange.compressing.take() else { return Ok(()) };
    let part = body.take().unwrap_or_default();
    let out = if end {
        compressing.encoder.end(&part)
    } else {
        let out = compressing.encoder.encode(&part, compressing.at_once && !part.is_empty());
        exchange.compressing = Some(compressing);
        out
    };
    let out = out.map_err(|e| Error::because(ErrorType::InternalError, "an answer cannot be compressed", e))?;
    *body = (end || !out.is_empty()).then_some(out.into());
    Ok(())
}

fn vary(answer: &mut ResponseHeader) -> Result<()> {
    const NAME: HeaderName = ACCEPT_ENCODING;
    let words = answer.headers.get_all(VARY).into_iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    let there = words.map(<[u8]>::trim_ascii).any(|word| word == b"*" || word.eq_ignore_ascii_case(NAME.as_str().as_bytes()));
    if !there {
        answer.append_header(VARY, HeaderValue::from_name(NAME))?;
    }
    Ok(())
}

impl Encoder {
    fn new(coding: Coding, level: Level) -> io::Result<Self> {
        // By what they take, not by what they are called: all of a level are about as fast.
        let (gzip, br, zstd) = match level {
            Level::Fast => (1, 1, 1),
            Level::Normal => (6, 4, 3),
            // Beyond these it is memory that grows, to tens of MiB an answer.
            Level::Best => (9, 6, 9),
        };
        Ok(match coding {
            Coding::Gzip => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(gzip))),
            Coding::Br => Self::Br(Box::new(brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER, br, WINDOW))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), zstd)?;
                encoder.window_log(WINDOW)?;
                Self::Zstd(encoder)
            }
        })
    }

    fn encode(&mut self, part: &[u8], flush: bool) -> io::Result<Vec<u8>> {
        macro_rules! encode {
            ($encoder:expr) => {{
                $encoder.write_all(part)?;
                if flush {
                    $encoder.flush()?;
                }
                std::mem::take($encoder.get_mut())
            }};
        }
        Ok(match self {
            Self::Gzip(encoder) => encode!(encoder),
            Self::Br(encoder) => encode!(encoder),
            Self::Zstd(encoder) => encode!(encoder),
        })
    }

    fn end(mut self, part: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = self.encode(part, false)?;
        out.extend(match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Br(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
        });
        Ok(out)
    }
}

impl std::fmt::Debug for Compressing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressing").field("at_once", &self.at_once).finish_non_exhaustive()
    }
}
