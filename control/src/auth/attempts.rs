//! Counting attempts before they are made, so that many at once get no further than many in a row.
//!
//! Guesses at a person's password are counted for each device on which they have signed in before, and together for all
//! others, the strangers. Strangers who guess lock strangers out: the owner's own devices go on, and a new device of
//! theirs has the mailed link. An address that nobody has is counted as if somebody had it. (OWASP, device cookies.)

use std::net::IpAddr;

use clearway_config::{ErrorCode, UserId};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::store;
use crate::{
    db::{self, Tx},
    http::ApiError,
    world::World,
};

/// How long attempts are counted from the first one on, and so how long a lock lasts at most.
const WINDOW_MS: i64 = 15 * 60 * 1_000;
const HOUR_MS: i64 = 60 * 60 * 1_000;
/// Guesses in a window: of one device, or of all strangers together, at one person's password.
const GUESSES_MAX: i64 = 10;
/// Guesses in a window from one client address, whoever they are at.
const FROM_ADDRESS_MAX: i64 = 100;
/// Ways to sign-in providers in a window that one client address may begin: each is a row.
const BEGUN_MAX: i64 = 60;
/// Mails of one kind to one address in an hour; what is beyond is not sent.
const MAILS_TO_MAX: i64 = 5;
/// Mails in an hour that one client address may have caused.
const MAILS_FROM_MAX: i64 = 30;
/// Codes of devices that one person may type in an hour.
const DEVICE_CODES_MAX: i64 = 30;

/// What is counted, as a hash: no address stands in the table.
type Subject = [u8; 32];

/// Who guesses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Guesser {
    /// A device on which this person has signed in before: the hash of its token.
    Device([u8; 32]),
    Stranger,
}

/// Too many, until so many milliseconds from now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Locked {
    retry_ms: i64,
}

fn subject(kind: &str, parts: &[&[u8]]) -> Subject {
    let mut hash = Sha256::new();
    for part in [kind.as_bytes()].iter().chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// A network of IPv6 is one client: whoever has one address of it has all of them.
fn client(kind: &str, address: IpAddr) -> Subject {
    match address.to_canonical() {
        IpAddr::V4(address) => subject(kind, &[&address.octets()]),
        IpAddr::V6(address) => subject(kind, &[&address.octets()[..8]]),
    }
}

fn guess(what: &str, whose: &str, guesser: Guesser) -> Subject {
    match guesser {
        Guesser::Device(device) => subject(what, &[whose.as_bytes(), &device]),
        Guesser::Stranger => subject(what, &[whose.as_bytes()]),
    }
}

/// Counts a guess at `whose` password or second factor (`what`), before it is looked at. Call [`forgive`] where it was right.
pub(super) async fn count_guess(
    tx: &mut Tx,
    world: &World,
    what: &str,
    whose: &str,
    guesser: Guesser,
    from: IpAddr,
) -> db::Result<Result<(), Locked>> {
    let mut wanted = [(guess(what, whose, guesser), GUESSES_MAX), (client("guesses", from), FROM_ADDRESS_MAX)];
    // In one order, so that two guesses never wait for each other.
    wanted.sort_unstable();
    let now_ms = world.now_ms();
    let mut verdict = Ok(());
    for (subject, max) in wanted {
        let (count, ends_at) = store::count_attempt(tx, &subject, now_ms, now_ms + WINDOW_MS).await?;
        if count > max {
            verdict = Err(Locked { retry_ms: (ends_at - now_ms).max(1) });
        }
    }
    Ok(verdict)
}

/// The guess was right: those before it at the same are forgotten, and this one is not the client address's.
pub(super) async fn forgive(tx: &mut Tx, what: &str, whose: &str, guesser: Guesser, from: IpAddr) -> db::Result<()> {
    store::forget_attempts(tx, &guess(what, whose, guesser)).await?;
    store::take_attempt_back(tx, &client("guesses", from)).await
}

/// Forgets the strangers' guesses at a password that is none any more.
pub(super) async fn forget_strangers(tx: &mut Tx, email: &str) -> db::Result<()> {
    store::forget_attempts(tx, &guess("password", email, Guesser::Stranger)).await
}

/// Counts a mail of a `kind` that somebody asks for; whether it is to be sent. An error where the client address asks for too many,
/// which has nothing to do with whether the mail's address is somebody's.
pub async fn count_mail(tx: &mut Tx, world: &World, kind: &str, to: &str, from: IpAddr) -> Result<bool, ApiError> {
    let now_ms = world.now_ms();
    let (asked, ends_at) = store::count_attempt(tx, &client("mails", from), now_ms, now_ms + HOUR_MS).await?;
    if asked > MAILS_FROM_MAX {
        return Err(Locked { retry_ms: ends_at - now_ms }.into());
    }
    let (sent, _) =
        store::count_attempt(tx, &subject("mail", &[kind.as_bytes(), to.as_bytes()]), now_ms, now_ms + HOUR_MS).await?;
    Ok(sent <= MAILS_TO_MAX)
}

/// Counts a way to a sign-in provider that somebody begins.
pub async fn count_begun(tx: &mut Tx, world: &World, from: IpAddr) -> Result<(), ApiError> {
    let now_ms = world.now_ms();
    let (begun, ends_at) = store::count_attempt(tx, &client("providers", from), now_ms, now_ms + WINDOW_MS).await?;
    if begun > BEGUN_MAX { Err(Locked { retry_ms: ends_at - now_ms }.into()) } else { Ok(()) }
}

/// Counts a code of a device that somebody types, right or wrong; whether it is to be looked at (RFC 8628, 5.1).
pub async fn count_device_code(tx: &mut Tx, world: &World, user: UserId) -> db::Result<bool> {
    let now_ms = world.now_ms();
    let (typed, _) = store::count_attempt(tx, &subject("device_code", &[&user.as_bytes()[..]]), now_ms, now_ms + HOUR_MS).await?;
    Ok(typed <= DEVICE_CODES_MAX)
}

impl From<Locked> for ApiError {
    fn from(Locked { retry_ms }: Locked) -> Self {
        let seconds = u64::try_from(retry_ms).unwrap_or(0).div_ceil(1_000).max(1);
        ApiError::new(ErrorCode::SignInLocked).with_details(json!({ "retry_after": seconds })).retry_after(seconds)
    }
}
