//! An application that people sign in to, by the crate openidconnect: found by discovery, and every answer checked by it.
//! Prints the steps that went as they should, as one line of JSON.

mod person;

use openidconnect::{
    AccessToken, AccessTokenHash, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, IssuerUrl,
    JsonWebKeySet, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, RedirectUrl, Scope, SignatureVerificationError,
    SubjectIdentifier, TokenResponse as _,
    core::{
        CoreAuthenticationFlow, CoreClient, CoreIdTokenVerifier, CoreJwsSigningAlgorithm, CoreProviderMetadata,
        CoreUserInfoClaims,
    },
};
use person::{Person, parameter};
use serde_json::json;

const REDIRECT: &str = "https://app.example/callback";

fn main() {
    let person = Person::sign_in();
    let http = |request| person.send(request);
    let mut done = Vec::new();

    let app = person.register(&json!({
        "name": "By openidconnect",
        "redirect_uris": [REDIRECT],
        "scopes": ["read:keys"],
        "grant_types": ["authorization_code", "refresh_token"],
    }));
    let text = |name: &str| app[name].as_str().expect("text").to_owned();
    let (id, secret) = (ClientId::new(text("client_id")), ClientSecret::new(text("client_secret")));

    let issuer = IssuerUrl::new(person.gateway().to_owned()).expect("a URL");
    let metadata = CoreProviderMetadata::discover(&issuer, &http).expect("metadata");
    assert_eq!(*metadata.id_token_signing_alg_values_supported(), [CoreJwsSigningAlgorithm::EcdsaP256Sha256]);
    done.push("discovery");
    let keys = metadata.jwks().clone();
    assert!(!keys.keys().is_empty(), "it has fetched the keys, too");
    done.push("jwks");
    let client = CoreClient::from_provider_metadata(metadata, id.clone(), Some(secret.clone()))
        .set_redirect_uri(RedirectUrl::new(REDIRECT.to_owned()).expect("a URL"));

    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .add_scopes(["profile", "email", "read:keys"].map(|scope| Scope::new(scope.to_owned())))
        .set_pkce_challenge(challenge)
        .url();
    let back = person.agree(&url);
    assert_eq!(parameter(&back, "state").as_ref(), Some(state.secret()), "{back}");
    assert_eq!(parameter(&back, "iss").as_deref(), Some(person.gateway()), "{back}");
    let code = AuthorizationCode::new(parameter(&back, "code").expect("a code"));
    let tokens = client.exchange_code(code).expect("a token endpoint").set_pkce_verifier(verifier);
    let tokens = tokens.request(&http).expect("tokens");
    done.push("code");

    let id_token = tokens.id_token().expect("an ID token");
    let ours = client.id_token_verifier();
    let claims = id_token.claims(&ours, &nonce).expect("an ID token for this application and this request");
    let (algorithm, key) = (id_token.signing_alg().expect("one"), id_token.signing_key(&ours).expect("one of those published"));
    let hash = AccessTokenHash::from_token(tokens.access_token(), algorithm, key).expect("a hash");
    assert_eq!(claims.access_token_hash(), Some(&hash), "they came together");
    assert!(claims.auth_time().is_some());
    done.push("id_token");

    let about = |token: &AccessToken, of: &SubjectIdentifier| {
        let asked = client.user_info(token.clone(), Some(of.clone())).expect("a userinfo endpoint");
        asked.request(&http).map(|told: CoreUserInfoClaims| (told.email().cloned(), told.email_verified()))
    };
    let subject = claims.subject();
    let (email, verified) = about(tokens.access_token(), subject).expect("who it is");
    assert!(email.is_some() && verified == Some(true), "{email:?} {verified:?}");
    let somebody = SubjectIdentifier::new("user_0000000000000000000001".to_owned());
    about(tokens.access_token(), &somebody).expect_err("a token of somebody else");
    done.push("userinfo");

    let refresh = tokens.refresh_token().expect("a refresh token");
    let refreshed = client.exchange_refresh_token(refresh).expect("a token endpoint").request(&http).expect("tokens");
    assert_ne!(refreshed.refresh_token().expect("another one").secret(), refresh.secret());
    assert_eq!(about(refreshed.access_token(), subject).expect("who it is"), (email, verified));
    done.push("refresh");

    // The same token, where it must not be taken.
    let refused = |verifier: &CoreIdTokenVerifier<'_>, nonce: &Nonce| id_token.claims(verifier, nonce).expect_err("a refusal");
    let of = |id: &ClientId, issuer: &IssuerUrl, keys| {
        let verifier = CoreIdTokenVerifier::new_confidential_client(id.clone(), secret.clone(), issuer.clone(), keys);
        verifier.set_allowed_algs([CoreJwsSigningAlgorithm::EcdsaP256Sha256])
    };
    let replayed = refused(&ours, &Nonce::new_random());
    assert!(matches!(replayed, ClaimsVerificationError::InvalidNonce(_)), "{replayed}");
    done.push("another nonce");
    let passed_on = refused(&of(&ClientId::new("client_0000000000000000000001".to_owned()), &issuer, keys.clone()), &nonce);
    assert!(matches!(passed_on, ClaimsVerificationError::InvalidAudience(_)), "{passed_on}");
    done.push("another audience");
    let elsewhere = IssuerUrl::new("https://elsewhere.example".to_owned()).expect("a URL");
    let mixed_up = refused(&of(&id, &elsewhere, keys), &nonce);
    assert!(matches!(mixed_up, ClaimsVerificationError::InvalidIssuer(_)), "{mixed_up}");
    done.push("another issuer");
    let forged = refused(&of(&id, &issuer, JsonWebKeySet::new(Vec::new())), &nonce);
    let is_unknown = matches!(forged, ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey));
    assert!(is_unknown, "{forged}");
    done.push("another key");

    println!("{}", json!(done));
}
