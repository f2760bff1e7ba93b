//! Issuers: whose tokens are taken, by which keys they are verified, and whom they stand for.
//!
//! A token names its issuer in `iss`; two issuers here never share that name. What makes a token good is
//! decided in the filters, where keys come from is the proxy's business.

use std::{collections::HashMap, net::IpAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::check_name;
use crate::{
    id::AccountId,
    settings::fault::{Fault, Within as _},
};

/// Issuers of all documents together at most.
pub const ISSUERS_MAX: usize = 64;
/// Accounts that one issuer's claim is mapped to at most.
pub const ACCOUNTS_MAX: usize = 10_000;
/// What routes call Clearway's own authorization server among the issuers. It is no object: its keys come by sync.
pub const OWN_ISSUER: &str = "clearway";
/// Where [`Issuer`]s stand in a list, its place is none of them.
pub const OWN_ISSUER_INDEX: usize = usize::MAX;
/// The `typ` of access tokens (RFC 9068, 2.1).
const ACCESS_TOKEN: &str = "at+jwt";
const AUDIENCES_MAX: usize = 16;
const WORD_CHARS_MAX: usize = 256;

const LEEWAY: Duration = Duration::from_secs(30);
const LEEWAY_MAX: Duration = Duration::from_secs(300);
const REFRESH: Duration = Duration::from_secs(300);
const REFETCH_AFTER: Duration = Duration::from_secs(10);
const STALE_FOR: Duration = Duration::from_secs(24 * 3600);

/// An issuer as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct IssuerSpec {
    /// 1 to 64 of `a-z`, `0-9`, `-`, `_` and `.`.
    pub name: String,
    /// What its tokens carry as `iss`, letter by letter.
    pub issuer: String,
    /// A token must be meant for one of these (`aud`).
    pub audiences: Vec<String>,
    /// Where its keys are (RFC 7517): `https://`, or `http://` on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// A file with its keys instead; read again when it changes.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// Authorities (PEM) that `jwks_url` is verified by, instead of the system's.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_ca_file: Option<PathBuf>,
    /// What its tokens may be signed with; a token never chooses for itself.
    pub algorithms: Vec<Algorithm>,
    /// The account that all of its tokens stand for.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// The claim that holds the account's id, or what `accounts` maps to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_claim: Option<String>,
    /// Account ids by the value of `account_claim`; `sub` unless that is said.
    #[cfg_attr(feature = "openapi", schema(value_type = HashMap<String, String>))]
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub accounts: HashMap<String, AccountId>,
    /// Who the token is about, for the upstream and the log; `sub` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_claim: Option<String>,
    /// The claim with scopes, as words in one text or as a list; `scope`, and where that is missing `scp`, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_claim: Option<String>,
    /// What the header's `typ` must be, such as `at+jwt` (RFC 9068); anything unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typ: Option<String>,
    /// How far clocks may be apart; `30s` unless said, `5m` at most.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "30s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub leeway: Option<Duration>,
    /// How long after `iat` a token is taken at most; as long as it says itself unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "1h"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// How often its keys are fetched again; `5m` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "5m"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Duration>,
    /// A token with an unknown key has them fetched at once, but not sooner than this after the last time; `10s` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "10s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub refetch_after: Option<Duration>,
    /// How long the last keys are used while fetching fails; `24h` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "24h"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub stale_for: Option<Duration>,
}

/// Signatures that can be verified without a secret. `none` and HMAC are not among them and cannot be written (RFC 8725, 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    pub const ALL: [Algorithm; 9] = [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::RS256 => "RS256",
            Algorithm::RS384 => "RS384",
            Algorithm::RS512 => "RS512",
            Algorithm::PS256 => "PS256",
            Algorithm::PS384 => "PS384",
            Algorithm::PS512 => "PS512",
            Algorithm::ES256 => "ES256",
            Algorithm::ES384 => "ES384",
            Algorithm::EdDSA => "EdDSA",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// An issuer, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    pub name: String,
    pub issuer: String,
    /// Never empty.
    pub audiences: Vec<String>,
    pub keys: KeySource,
    /// Never empty.
    pub algorithms: Vec<Algorithm>,
    pub account: AccountRule,
    pub subject_claim: String,
    /// `None`: `scope`, or else `scp`.
    pub scope_claim: Option<String>,
    pub typ: Option<String>,
    pub leeway: Duration,
    pub max_age: Option<Duration>,
    /// Whether an audience may also be a path below one of `audiences`: the token is good for what is there alone (RFC 8707).
    pub resources: bool,
    /// Whether its tokens may be bound to a key, and are then taken with a proof alone (RFC 9449).
    pub binds: bool,
}

/// Where an issuer's keys come from, and how they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    pub place: KeyPlace,
    pub refresh: Duration,
    pub refetch_after: Duration,
    pub stale_for: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    Url { url: String, ca_file: Option<PathBuf> },
    File(PathBuf),
}

impl KeySource {
    /// Of issuers whose keys nobody fetches: they are known otherwise.
    const NOWHERE: Self = Self {
        place: KeyPlace::File(PathBuf::new()),
        refresh: Duration::MAX,
        refetch_after: Duration::MAX,
        stale_for: Duration::MAX,
    };
}

/// Whom a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountRule {
    /// The same account, whatever the token says.
    Always(AccountId),
    /// The claim's text is the account's id.
    Claim(String),
    /// The claim's text is looked up; what is not there has no account.
    Mapped { claim: String, accounts: HashMap<String, AccountId> },
}

impl Issuer {
    /// Clearway's own authorization server, whose tokens carry `name` as `iss`, and as `aud` the same or a path below it.
    pub fn own(name: &str, leeway: Duration) -> Self {
        Self {
            name: OWN_ISSUER.to_owned(),
            issuer: name.to_owned(),
            audiences: vec![name.to_owned()],
            keys: KeySource::NOWHERE,
            algorithms: vec![Algorithm::ES256],
            account: AccountRule::Claim("account_id".to_owned()),
            subject_claim: "sub".to_owned(),
            scope_claim: Some("scope".to_owned()),
            typ: Some(ACCESS_TOKEN.to_owned()),
            leeway,
            max_age: None,
            resources: true,
            binds: true,
        }
    }

    /// An OAuth client of `account`, which says by a token of its own to `audience` that it is itself (RFC 7523, 3).
    pub fn client(id: &str, account: AccountId, audience: &str, algorithms: &[Algorithm], leeway: Duration) -> Self {
        Self {
            name: id.to_owned(),
            issuer: id.to_owned(),
            audiences: vec![audience.to_owned()],
            keys: KeySource::NOWHERE,
            algorithms: algorithms.to_vec(),
            account: AccountRule::Always(account),
            subject_claim: "sub".to_owned(),
            scope_claim: None,
            typ: None,
            leeway,
            max_age: None,
            resources: false,
            binds: false,
        }
    }
}

impl IssuerSpec {
    pub fn resolve(&self) -> Result<Issuer, Fault> {
        check_name(&self.name)?;
        if self.name == OWN_ISSUER {
            return Err(Fault::at("name", format!("`{OWN_ISSUER}` is Clearway's own authorization server")));
        }
        word(&self.issuer).within("issuer")?;
        if self.audiences.is_empty() || self.audiences.len() > AUDIENCES_MAX {
            // A token meant for another service would be taken otherwise (RFC 8725, 3.9).
            return Err(Fault::at("audiences", format!("must name 1 to {AUDIENCES_MAX} audiences")));
        }
        for (n, audience) in self.audiences.iter().enumerate() {
            word(audience).within(n).within("audiences")?;
        }
        if self.algorithms.is_empty() {
            return Err(Fault::at("algorithms", "must name at least one"));
        }
        for (key, text) in [
            ("account_claim", &self.account_claim),
            ("subject_claim", &self.subject_claim),
            ("scope_claim", &self.scope_claim),
            ("typ", &self.typ),
        ] {
            text.as_deref().map_or(Ok(()), word).within(key)?;
        }
        let second = Duration::from_secs(1);
        let day = Duration::from_secs(24 * 3600);
        Ok(Issuer {
            name: self.name.clone(),
            issuer: self.issuer.clone(),
            audiences: self.audiences.clone(),
            keys: KeySource {
                place: self.place()?,
                refresh: bounded("refresh", self.refresh, REFRESH, second, day)?,
                refetch_after: bounded("refetch_after", self.refetch_after, REFETCH_AFTER, second, day)?,
                stale_for: bounded("stale_for", self.stale_for, STALE_FOR, second, 30 * day)?,
            },
            algorithms: self.algorithms.clone(),
            account: self.account_rule()?,
            subject_claim: self.subject_claim.clone().unwrap_or_else(|| "sub".to_owned()),
            scope_claim: self.scope_claim.clone(),
            typ: self.typ.clone(),
            leeway: bounded("leeway", self.leeway, LEEWAY, Duration::ZERO, LEEWAY_MAX)?,
            max_age: self.max_age,
            resources: false,
            binds: false,
        })
    }

    fn place(&self) -> Result<KeyPlace, Fault> {
        match (&self.jwks_url, &self.jwks_file) {
            (Some(url), None) => {
                check_url(url).map_err(|why| Fault::at("jwks_url", why))?;
                Ok(KeyPlace::Url { url: url.clone(), ca_file: self.jwks_ca_file.clone() })
            }
            (None, Some(_)) if self.jwks_ca_file.is_some() => Err(Fault::at("jwks_ca_file", "is for jwks_url")),
            (None, Some(file)) => Ok(KeyPlace::File(file.clone())),
            (Some(_), Some(_)) => Err(Fault::at("jwks_file", "either jwks_url or jwks_file")),
            (None, None) => Err(Fault::at("jwks_url", "either jwks_url or jwks_file is needed")),
        }
    }

    fn account_rule(&self) -> Result<AccountRule, Fault> {
        if self.accounts.len() > ACCOUNTS_MAX {
            return Err(Fault::at("accounts", format!("more than {ACCOUNTS_MAX}")));
        }
        match (self.account, &self.account_claim, self.accounts.is_empty()) {
            (Some(account), None, true) => Ok(AccountRule::Always(account)),
            (Some(_), ..) => Err(Fault::at("account", "stands for every token: without account_claim and accounts")),
            (None, Some(claim), true) => Ok(AccountRule::Claim(claim.clone())),
            (None, claim, false) => Ok(AccountRule::Mapped {
                claim: claim.clone().unwrap_or_else(|| "sub".to_owned()),
                accounts: self.accounts.clone(),
            }),
            (None, None, true) => {
                Err(Fault::at("account_claim", "one of account, account_claim and accounts says whom a token stands for"))
            }
        }
    }
}

fn bounded(key: &str, given: Option<Duration>, or: Duration, min: Duration, max: Duration) -> Result<Duration, Fault> {
    match given.unwrap_or(or) {
        fits if (min..=max).contains(&fits) => Ok(fits),
        _ => Err(Fault::at(
            key,
            format!(
                "must be from {} to {}",
                humantime_serde::re::humantime::format_duration(min),
                humantime_serde::re::humantime::format_duration(max)
            ),
        )),
    }
}

fn word(text: &str) -> Result<(), Fault> {
    if (1..=WORD_CHARS_MAX).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(Fault::new(format!("must be 1 to {WORD_CHARS_MAX} characters")))
    }
}

/// Keys that came over a plain connection could be anybody's; on this machine there is no one between.
fn check_url(text: &str) -> Result<(), &'static str> {
    const REFUSED: &str = "must be an https:// address, or http:// on this machine";
    let url: http::Uri = text.parse().map_err(|_| REFUSED)?;
    let authority = url.authority().ok_or(REFUSED)?;
    if authority.as_str().contains('@') {
        return Err("must not carry a user name");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let near = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match url.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if near => Ok(()),
        _ => Err(REFUSED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "acme"
issuer = "https://login.acme.example"
audiences = ["https://api.example.com"]
jwks_url = "https://login.acme.example/jwks.json"
algorithms = ["ES256", "EdDSA"]
account_claim = "org"
"#;

    fn resolve(text: &str) -> Result<Issuer, String> {
        let spec: IssuerSpec = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        spec.resolve().map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_good_issuer_has_the_defaults_of_the_page() {
        let issuer = resolve(GOOD).unwrap();
        assert_eq!((issuer.leeway, issuer.subject_claim.as_str()), (LEEWAY, "sub"));
        assert_eq!(issuer.account, AccountRule::Claim("org".into()));
        assert_eq!(issuer.keys.refetch_after, REFETCH_AFTER);
    }

    #[test]
    fn an_algorithm_with_a_shared_secret_or_none_cannot_be_written() {
        for bad in ["HS256", "none", "es256"] {
            assert!(resolve(&GOOD.replace("ES256", bad)).unwrap_err().contains("unknown variant"), "{bad}");
        }
        assert!(resolve(&GOOD.replace("\"ES256\", \"EdDSA\"", "")).unwrap_err().starts_with("algorithms: "));
    }

    #[test]
    fn every_mistake_has_its_place() {
        for (from, to, place) in [
            ("https://login.acme.example/jwks", "http://login.acme.example/jwks", "jwks_url: must be an https://"),
            ("https://login.acme.example/jwks", "https://me@login.acme.example/jwks", "jwks_url: must not carry"),
            ("[\"https://api.example.com\"]", "[]", "audiences: "),
            ("account_claim = \"org\"", "", "account_claim: one of"),
            ("account_claim", "account = \"acct_0000000000000000000001\"\naccount_claim", "account: stands for every"),
            ("name = ", "leeway = \"1h\"\nname = ", "leeway: must be from 0s to 5m"),
            ("name = ", "jwks_file = \"x\"\nname = ", "jwks_file: either"),
        ] {
            let wrong = resolve(&GOOD.replace(from, to)).unwrap_err();
            assert!(wrong.starts_with(place), "{wrong}");
        }
        assert!(resolve(&GOOD.replace("https://login.acme.example/jwks", "http://127.0.0.1:99/jwks")).is_ok());
    }

    #[test]
    fn accounts_map_the_subject_unless_another_claim_is_named() {
        let mapped = GOOD.replace("account_claim = \"org\"", "accounts = { alice = \"acct_0000000000000000000001\" }");
        let AccountRule::Mapped { claim, accounts } = resolve(&mapped).unwrap().account else { panic!("mapped") };
        assert_eq!((claim.as_str(), accounts.len()), ("sub", 1));
    }
}
