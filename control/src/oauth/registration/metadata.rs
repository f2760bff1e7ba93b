//! Client metadata (RFC 7591, 2): what an application says of itself, and what it is told that it was registered with. What is
//! not known here is ignored, as that RFC has it; what would have something fetched is refused.

use clearway_config::{ClientId, Scope, Scopes};
use serde_json::{Map, Value, json};

use crate::{
    http::fields,
    oauth::{
        ACCESS_LIFETIME, REFRESH_LIFETIME,
        clients::{AuthMethod, Client, GrantType, HOMEPAGE_CHARS_MAX, NAME_CHARS_MAX, NewClient},
        identity::Identity,
        redirect::{URI_BYTES_MAX, URIS_MAX},
        refusal::{Refusal, Word},
    },
};

/// What people are asked about where an application has said no name.
const UNNAMED: &str = "Unnamed application";
/// Characters of a scope's list at most.
const SCOPE_CHARS_MAX: usize = 4_000;
const ID_TOKEN_ALGORITHM: &str = "ES256";

/// Reads what an application asks to be registered with: no more than `scopes`, which it may narrow, and `grant_types`.
pub(super) fn read(said: &Map<String, Value>, scopes: &Scopes, grant_types: &[GrantType]) -> Result<NewClient, Refusal> {
    if let Some(name) = ["jwks_uri", "sector_identifier_uri", "request_uris"].into_iter().find(|name| said.contains_key(*name)) {
        return Err(wrong(name, "is not supported: nothing is fetched"));
    }
    let grants = optional(said, "grant_types", fields::list(GrantType::ALL.len(), fields::parsed::<GrantType>))?;
    let grants = grants.unwrap_or_else(|| vec![GrantType::AuthorizationCode]);
    if let Some(grant) = grants.iter().find(|grant| !grant_types.contains(grant)) {
        return Err(wrong("grant_types", &format!("may not have {}", grant.as_str())));
    }
    let responses = optional(said, "response_types", fields::list(4, fields::text(64)))?;
    if responses.is_some_and(|responses| responses.iter().any(|response| response != "code")) {
        return Err(wrong("response_types", "may have code alone"));
    }
    let algorithm = optional(said, "id_token_signed_response_alg", fields::text(64))?;
    if algorithm.is_some_and(|algorithm| algorithm != ID_TOKEN_ALGORITHM) {
        return Err(wrong("id_token_signed_response_alg", "must be ES256"));
    }
    let redirect_uris = optional(said, "redirect_uris", fields::list(URIS_MAX, fields::text(URI_BYTES_MAX)));
    let redirect_uris = redirect_uris.map_err(|refusal| Refusal { word: Word::InvalidRedirectUri, ..refusal })?;
    Ok(NewClient {
        name: optional(said, "client_name", fields::text(NAME_CHARS_MAX))?.unwrap_or_else(|| UNNAMED.to_owned()),
        homepage: optional(said, "client_uri", homepage)?,
        auth_method: optional(said, "token_endpoint_auth_method", fields::parsed)?.unwrap_or(AuthMethod::ClientSecretBasic),
        grant_types: GrantType::ALL.into_iter().filter(|grant| grants.contains(grant)).collect(),
        redirect_uris: redirect_uris.unwrap_or_default(),
        scopes: narrowed(scopes, optional(said, "scope", fields::text_or_none(SCOPE_CHARS_MAX))?.as_deref()),
        access_lifetime: ACCESS_LIFETIME,
        refresh_lifetime: REFRESH_LIFETIME,
        jwks: optional(said, "jwks", |value| Ok(value.clone()))?,
        dpop_bound: optional(said, "dpop_bound_access_tokens", fields::yes_or_no)?.unwrap_or(false),
    })
}

/// Whether what is to be replaced is named by its id, and nothing is said that is Clearway's to say (RFC 7592, 2.2).
pub(super) fn check_names(said: &Map<String, Value>, id: ClientId) -> Result<(), Refusal> {
    let ours = ["registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"];
    if let Some(name) = ours.into_iter().find(|name| said.contains_key(*name)) {
        return Err(wrong(name, "is not to be said"));
    }
    let named = said.get("client_id").and_then(Value::as_str);
    if named == Some(id.to_string().as_str()) { Ok(()) } else { Err(wrong("client_id", "must be the one of the address")) }
}

/// Of what may be had, what is asked for; all of it where nothing is said.
fn narrowed(scopes: &Scopes, asked: Option<&str>) -> Scopes {
    match asked.map(|asked| asked.split(' ').collect::<Vec<_>>()) {
        None => scopes.clone(),
        Some(asked) => scopes.iter().filter(|scope| asked.contains(&scope.as_str())).cloned().collect(),
    }
}

/// What an application was registered with (RFC 7591, 3.2.1), without its secrets.
pub(in crate::oauth) fn described(client: &Client) -> Map<String, Value> {
    let identity = Identity::SCOPES.into_iter().map(|(word, _)| word);
    let scope: Vec<&str> = identity.chain(client.scopes.iter().map(Scope::as_str)).collect();
    let by_code = client.may(GrantType::AuthorizationCode);
    let document = json!({
        "client_id": client.id,
        "client_id_issued_at": client.created_at.div_euclid(1_000),
        "client_name": client.name,
        "client_uri": client.homepage,
        "redirect_uris": client.redirect_uris,
        "grant_types": client.grant_types,
        "response_types": if by_code { &["code"][..] } else { &[] },
        "token_endpoint_auth_method": client.auth_method,
        "scope": scope.join(" "),
        "jwks": client.jwks,
        "dpop_bound_access_tokens": client.dpop_bound,
        "id_token_signed_response_alg": ID_TOKEN_ALGORITHM,
    });
    let Value::Object(members) = document else { return Map::new() };
    members.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

fn optional<T>(
    said: &Map<String, Value>,
    name: &str,
    read: impl FnOnce(&Value) -> Result<T, fields::Wrong>,
) -> Result<Option<T>, Refusal> {
    let value = said.get(name).filter(|value| !value.is_null());
    value.map(read).transpose().map_err(|(_, message)| wrong(name, &message))
}

fn homepage(value: &Value) -> Result<String, fields::Wrong> {
    let text = fields::text(HOMEPAGE_CHARS_MAX)(value)?;
    let formed = url::Url::parse(&text).is_ok_and(|url| url.scheme() == "https");
    if formed { Ok(text) } else { Err(("format_invalid", "must be an https:// URL".into())) }
}

fn wrong(name: &str, why: &str) -> Refusal {
    Refusal::new(Word::InvalidClientMetadata, format!("{name} {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(words: &[&str]) -> Scopes {
        words.iter().map(|word| word.parse::<Scope>().unwrap()).collect()
    }

    fn read_with(said: &Value) -> Result<NewClient, Word> {
        let all = [GrantType::AuthorizationCode, GrantType::RefreshToken];
        read(said.as_object().unwrap(), &scopes(&["read:keys", "read:stores"]), &all).map_err(|refusal| refusal.word)
    }

    #[test]
    fn what_is_not_said_is_as_the_rfc_has_it_and_what_is_not_known_is_ignored() {
        let new =
            read_with(&json!({"redirect_uris": ["https://a.example/"], "logo_uri": "https://a.example/x", "x": 1})).unwrap();
        assert_eq!((new.name.as_str(), new.auth_method), (UNNAMED, AuthMethod::ClientSecretBasic));
        assert_eq!(new.grant_types, [GrantType::AuthorizationCode]);
        assert_eq!(new.scopes, scopes(&["read:keys", "read:stores"]));
        let narrow = read_with(&json!({"scope": "openid read:stores write:keys admin:platform"})).unwrap();
        assert_eq!(narrow.scopes, scopes(&["read:stores"]), "less, and never more");
        assert!(read_with(&json!({"scope": ""})).unwrap().scopes.is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_word() {
        for said in [
            json!({"jwks_uri": "https://a.example/keys"}),
            json!({"grant_types": ["implicit"]}),
            json!({"grant_types": ["client_credentials"]}),
            json!({"response_types": ["token"]}),
            json!({"token_endpoint_auth_method": "tls_client_auth"}),
            json!({"client_uri": "http://a.example"}),
            json!({"client_name": "a\u{0}b"}),
            json!({"client_name": "x".repeat(101)}),
            json!({"id_token_signed_response_alg": "none"}),
        ] {
            assert_eq!(read_with(&said).unwrap_err(), Word::InvalidClientMetadata, "{said}");
        }
        assert_eq!(read_with(&json!({"redirect_uris": "https://a.example/"})).unwrap_err(), Word::InvalidRedirectUri);
    }
}
