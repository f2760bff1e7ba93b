//! Which of a route's methods a request is to be judged by: what it presents decides, never what would be
//! easiest to pass.
//!
//! At most one credential is judged. A key or a token comes before a signature alone, a signature before
//! the connection's certificate, and only a request that presents nothing at all is anonymous: a credential
//! that is wrong, or of a kind that the route does not take, is never taken for none.

use clearway_config::{
    SessionToken,
    settings::gateway::{Auth, AuthMethod, AuthMethods},
};

use crate::{Reject, request::Credential, signature};

/// What a request presents, none of it looked at.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'r> {
    pub credential: Credential<'r>,
    /// There is a message signature that says it is by one of our keys.
    pub signature: bool,
    /// The connection has a verified client certificate.
    pub certificate: bool,
}

/// What the request is to be judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen<'r> {
    Key(&'r [u8]),
    Token(&'r [u8]),
    /// A token that is shown with a proof of its key.
    Bound(&'r [u8]),
    /// A signature that stands for its key.
    Signature,
    Certificate,
    /// A person's session, which the upstream is to verify.
    Session,
    Nothing,
}

/// Chooses among what a route of `auth` takes.
pub fn choose<'r>(auth: Auth, offered: Offered<'r>) -> Result<Chosen<'r>, Reject> {
    let takes = auth.methods();
    if matches!(auth, Auth::WithCertificate(_)) && !offered.certificate {
        return Err(Reject::CertificateMissing);
    }
    match offered.credential {
        // Of its form alone: no key has it.
        Credential::Key(session) if takes.contains(AuthMethod::Session) && SessionToken::parse(session).is_ok() => {
            Ok(Chosen::Session)
        }
        Credential::Token(_) | Credential::Bound(_)
            if takes.contains(AuthMethod::Jwt) && offered.signature && takes.contains(AuthMethod::Signature) =>
        {
            Err(Reject::Ambiguous("a token beside the signature of a key"))
        }
        Credential::Token(token) if takes.contains(AuthMethod::Jwt) => Ok(Chosen::Token(token)),
        Credential::Bound(token) if takes.contains(AuthMethod::Jwt) => Ok(Chosen::Bound(token)),
        Credential::Key(key) | Credential::Token(key) if takes.contains(AuthMethod::Key) => Ok(Chosen::Key(key)),
        // Neither a key nor a token, but sent where tokens are.
        Credential::Key(_) if takes.contains(AuthMethod::Jwt) => Err(Reject::CredentialNotAccepted),
        Credential::Key(_) | Credential::Token(_) => Err(Reject::CredentialNotAccepted),
        Credential::None | Credential::Bound(_) | Credential::Other => without_authorization(takes, offered),
    }
}

fn without_authorization<'r>(takes: AuthMethods, offered: Offered<'r>) -> Result<Chosen<'r>, Reject> {
    if offered.signature && takes.contains(AuthMethod::Signature) {
        return Ok(Chosen::Signature);
    }
    if offered.certificate && takes.contains(AuthMethod::Mtls) {
        return Ok(Chosen::Certificate);
    }
    if takes.contains(AuthMethod::Anonymous) {
        let nothing = offered.credential == Credential::None;
        return if nothing { Ok(Chosen::Nothing) } else { Err(Reject::CredentialNotAccepted) };
    }
    let only = |method| takes == AuthMethods::of(method);
    Err(if only(AuthMethod::Key) {
        Reject::KeyMissing
    } else if only(AuthMethod::Mtls) {
        Reject::CertificateMissing
    } else if only(AuthMethod::Signature) {
        Reject::Signature(signature::Refusal::Missing)
    } else {
        Reject::CredentialMissing
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Credential<'static> = Credential::Key(b"k");
    const TOKEN: Credential<'static> = Credential::Token(b"a.b.c");
    const BOUND: Credential<'static> = Credential::Bound(b"a.b.c");

    fn any(methods: &[AuthMethod]) -> Auth {
        Auth::Any(methods.iter().copied().collect())
    }

    fn chosen(
        auth: Auth,
        credential: Credential<'static>,
        signature: bool,
        certificate: bool,
    ) -> Result<Chosen<'static>, Reject> {
        choose(auth, Offered { credential, signature, certificate })
    }

    #[test]
    fn the_credential_decides_which_method_applies() {
        use AuthMethod::{Anonymous, Jwt, Key, Mtls, Signature};
        let all = any(&AuthMethod::ALL);
        assert_eq!(chosen(all, KEY, true, true), Ok(Chosen::Key(b"k")));
        assert_eq!(chosen(all, TOKEN, false, true), Ok(Chosen::Token(b"a.b.c")));
        assert_eq!(chosen(all, BOUND, false, true), Ok(Chosen::Bound(b"a.b.c")));
        assert_eq!(chosen(any(&[Mtls]), BOUND, false, true), Ok(Chosen::Certificate), "the upstream's business");
        assert!(matches!(chosen(all, BOUND, true, false), Err(Reject::Ambiguous(_))));
        assert_eq!(chosen(all, Credential::None, true, true), Ok(Chosen::Signature));
        assert_eq!(chosen(all, Credential::None, false, true), Ok(Chosen::Certificate));
        assert_eq!(chosen(all, Credential::Other, false, true), Ok(Chosen::Certificate));
        assert_eq!(chosen(all, Credential::None, false, false), Ok(Chosen::Nothing));
        assert!(matches!(chosen(all, TOKEN, true, false), Err(Reject::Ambiguous(_))));
        assert_eq!(
            chosen(any(&[Jwt]), TOKEN, true, false),
            Ok(Chosen::Token(b"a.b.c")),
            "signatures are the upstream's business"
        );
        assert_eq!(chosen(any(&[Key]), TOKEN, false, false), Ok(Chosen::Key(b"a.b.c")), "and no key at that");
        assert_eq!(chosen(any(&[Key, Mtls, Signature, Anonymous]), KEY, false, true), Ok(Chosen::Key(b"k")));
    }

    #[test]
    fn a_credential_that_is_not_taken_is_never_taken_for_none() {
        use AuthMethod::{Anonymous, Jwt, Mtls, Signature};
        for auth in [any(&[Anonymous]), any(&[Anonymous, Mtls]), any(&[Anonymous, Signature])] {
            for credential in [KEY, TOKEN, BOUND, Credential::Other] {
                assert_eq!(chosen(auth, credential, false, false), Err(Reject::CredentialNotAccepted), "{auth:?} {credential:?}");
            }
        }
        assert_eq!(chosen(any(&[Jwt, Anonymous]), KEY, false, false), Err(Reject::CredentialNotAccepted));
        assert_eq!(chosen(any(&[Mtls]), KEY, false, true), Err(Reject::CredentialNotAccepted), "nor beside a certificate");
    }

    #[test]
    fn a_session_passes_where_the_route_takes_sessions_and_is_no_key_elsewhere() {
        use AuthMethod::{Anonymous, Jwt, Key, Session};
        let token: &'static str = Box::leak(SessionToken::mint([7; 32]).reveal().to_owned().into_boxed_str());
        let session = Credential::Key(token.as_bytes());
        let typo = Credential::Key(&token.as_bytes()[..token.len() - 1]);
        let platform = any(&[Key, Jwt, Session, Anonymous]);
        assert_eq!(chosen(platform, session, false, false), Ok(Chosen::Session));
        assert_eq!(chosen(platform, KEY, false, false), Ok(Chosen::Key(b"k")));
        assert!(matches!(chosen(platform, typo, false, false), Ok(Chosen::Key(_))), "judged as a key, and so refused");
        assert!(matches!(chosen(any(&[Key, Anonymous]), session, false, false), Ok(Chosen::Key(_))));
        assert_eq!(chosen(any(&[Anonymous]), session, false, false), Err(Reject::CredentialNotAccepted));
        assert_eq!(chosen(any(&[Session]), Credential::None, false, false), Err(Reject::CredentialMissing));
    }

    #[test]
    fn what_is_missing_is_named() {
        use AuthMethod::{Jwt, Key, Mtls, Signature};
        for (auth, reject) in [
            (any(&[Key]), Reject::KeyMissing),
            (any(&[Mtls]), Reject::CertificateMissing),
            (any(&[Signature]), Reject::Signature(signature::Refusal::Missing)),
            (any(&[Jwt]), Reject::CredentialMissing),
            (any(&[Key, Mtls]), Reject::CredentialMissing),
        ] {
            assert_eq!(chosen(auth, Credential::None, false, false), Err(reject.clone()));
            assert_eq!(chosen(auth, Credential::Other, false, false), Err(reject));
        }
    }

    #[test]
    fn a_certificate_that_is_asked_for_beside_something_else_is_no_substitute_for_it() {
        let both = Auth::WithCertificate(AuthMethods::of(AuthMethod::Key));
        assert_eq!(chosen(both, KEY, false, false), Err(Reject::CertificateMissing));
        assert_eq!(chosen(both, Credential::None, false, true), Err(Reject::KeyMissing));
        assert_eq!(chosen(both, KEY, false, true), Ok(Chosen::Key(b"k")));
    }
}
