//! What a request by a token (JWT, ES256) costs beside one by a key: where the token has been verified before, and where each
//! is its token's first.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::json;

use crate::{
    fixture::{self, Keys},
    systems::{Setup, System},
    traffic::{BODY_BYTES, Connection, Upstream},
};

/// As many as keys: all of them are remembered.
const KNOWN: usize = 1_000;
/// So many that most are forgotten before they come again: a gateway remembers 16,384.
const FORGOTTEN: usize = 200_000;
const KEYS_AN_ACCOUNT: usize = 100;
/// What a token that is remembered may cost of what a key does.
const RATIO_MAX: f64 = 1.3;
const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "https://api.example.com";
const LIFE: Duration = Duration::from_hours(1);

/// An issuer with one key.
struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    fn new() -> Result<Self, String> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|e| e.to_string())?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Ok(Self { key: key.map_err(|e| e.to_string())?, random })
    }

    /// The document of its keys (RFC 7517).
    fn keys(&self) -> String {
        // An uncompressed point: 4, x, y.
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let key = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "bench", "x": b64(x), "y": b64(y)});
        json!({ "keys": [key] }).to_string()
    }

    /// `count` tokens with claims as servers put them in, spread over as many accounts as keys are.
    fn tokens(&self, count: usize) -> Result<Arc<[String]>, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
        let (issued, expires) = (now.as_secs(), (now + LIFE).as_secs());
        let head = b64(json!({"typ": "at+jwt", "alg": "ES256", "kid": "bench"}).to_string());
        let token = |n: usize| {
            let claims = json!({
                "iss": ISSUER, "aud": AUDIENCE, "sub": format!("user_{n:026}"), "client_id": "cli_bench",
                "org": fixture::account(n % KNOWN / KEYS_AN_ACCOUNT).to_string(), "scope": "read:bench write:webhooks",
                "iat": issued, "exp": expires, "jti": format!("{n:032x}"),
            });
            let signed = format!("{head}.{}", b64(claims.to_string()));
            let signature = self.key.sign(&self.random, signed.as_bytes()).map_err(|e| e.to_string())?;
            Ok(format!("{signed}.{}", b64(signature)))
        };
        (0..count).map(token).collect()
    }
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(crate) async fn run(rounds: u32, slice: Duration, connections: usize) -> Result<(), String> {
    let upstream = Upstream::start().await.map_err(|e| e.to_string())?;
    let (keys, issuer) = (Keys::mint(KNOWN), Issuer::new()?);
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let file = dir.path().join("keys.json");
    std::fs::write(&file, issuer.keys()).map_err(|e| e.to_string())?;
    let document = format!(
        "[[issuers]]\nname = \"login\"\nissuer = \"{ISSUER}\"\naudiences = [\"{AUDIENCE}\"]\njwks_file = \"{}\"\n\
         algorithms = [\"ES256\"]\naccount_claim = \"org\"\n",
        file.display()
    );
    let setup = Setup { route: "auth = [\"key\", \"jwt\"]", document: &document, ..Setup::default() };
    let (known, forgotten) = (issuer.tokens(KNOWN)?, issuer.tokens(FORGOTTEN)?);
    // Keys twice: by how much these differ is the noise of a ratio.
    let ways = [("a key", keys.secrets.clone()), ("a token", known), ("a key, again", keys.secrets.clone())];
    let first = ("a token, first seen", forgotten);
    let mut systems = Vec::new();
    for (name, credentials) in ways.into_iter().chain([first]) {
        let system = System::clearway_as(name, &setup, &upstream, &keys).await?;
        system.prove_gateway(&upstream, &keys).await?;
        prove_tokens(&system, &credentials).await?;
        systems.push(system.asked_by(credentials));
    }
    for system in &mut systems {
        system.slice(connections, slice).await?;
        system.run = crate::traffic::Run::default();
        system.slices_us.clear();
    }
    for _ in 0..rounds {
        for system in &mut systems {
            system.slice(connections, slice).await?;
        }
    }
    println!(
        "\nRequests by keys and by tokens (ES256): {connections} connections, {rounds} slices of {} ms each in turn\n",
        slice.as_millis()
    );
    println!("{:<24} {:>10} {:>8} {:>10} {:>8} {:>8}", "", "CPU us/req", "ratio", "req/s", "p50 us", "p99 us");
    let floor = (systems[0].cpu_us() + systems[2].cpu_us()) / 2.0;
    for system in &mut systems {
        let cpu = system.cpu_us();
        let (p50, p99) = (system.run.percentile_us(0.5), system.run.percentile_us(0.99));
        println!("{:<24} {cpu:>10.2} {:>8.3} {:>10.0} {p50:>8} {p99:>8}", system.name, cpu / floor, system.run.per_second());
    }
    let ratio = systems[1].cpu_us() / floor;
    let said = if ratio <= RATIO_MAX { "reached" } else { "MISSED" };
    println!("\na token that was verified before / a key: {ratio:.3}, at most {RATIO_MAX}: {said}");
    Ok(())
}

/// Whatever is timed is what it is said to be: it passes, and it does not with another signature.
async fn prove_tokens(system: &System, credentials: &[String]) -> Result<(), String> {
    let mut connection = Connection::open(system.addr).await?;
    let right = &credentials[0];
    match connection.get(right).await? {
        (200, BODY_BYTES) => {}
        other => return Err(format!("{}: {other:?} to what is right", system.name)),
    }
    let at = right.len() - 20;
    let other = if right.as_bytes()[at] == b'A' { "B" } else { "A" };
    let wrong = format!("{}{other}{}", &right[..at], &right[at + 1..]);
    match connection.get(&wrong).await? {
        (401, _) => Ok(()),
        other => Err(format!("{}: {other:?} to a changed one", system.name)),
    }
}
