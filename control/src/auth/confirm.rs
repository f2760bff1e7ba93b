//! Asking somebody who is signed in for their password once more, before what cannot be undone.

use clearway_config::ErrorCode;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    attempts::{self, Guesser},
    ticket,
};
use crate::{
    factors,
    http::{Api, ApiError, Person},
    passwords::Verdict,
    users::{self, User},
};

/// The person, if the password is theirs. Guesses are counted for the session, apart from those of strangers.
pub async fn confirm(api: &Api, person: &Person, password: Zeroizing<String>) -> Result<User, ApiError> {
    themselves(person)?;
    let user = users::find(&api.db, person.user_id).await?.ok_or_else(ApiError::not_found)?;
    let guesser = Guesser::Device(Sha256::digest(person.session_id.to_string()).into());
    let mut tx = api.db.begin().await?;
    let counted = attempts::count_guess(&mut tx, &api.world, "confirm", &user.email, guesser, person.address).await?;
    tx.commit().await?;
    counted?;
    match api.passwords.verify(password, Some(user.password_hash.clone())).await? {
        Verdict::Wrong => Err(ApiError::saying(ErrorCode::CredentialsInvalid, "The password is wrong.")),
        Verdict::Right { .. } => {
            let mut tx = api.db.begin().await?;
            attempts::forgive(&mut tx, "confirm", &user.email, guesser, person.address).await?;
            tx.commit().await?;
            Ok(user)
        }
    }
}

/// [`confirm`], and where a second factor is asked for a code of it, which is taken by that. Its guesses are counted too, or
/// whoever has stolen a session and the password could try every code.
pub async fn confirm_fully(
    api: &Api,
    person: &Person,
    password: Zeroizing<String>,
    code: Option<&str>,
) -> Result<User, ApiError> {
    let user = confirm(api, person, password).await?;
    if !factors::is_on(&api.db, user.id).await? {
        return Ok(user);
    }
    let Some(code) = code else { return Err(ApiError::new(ErrorCode::SecondFactorInvalid)) };
    let guesser = Guesser::Device(Sha256::digest(person.session_id.to_string()).into());
    let whose = user.id.to_string();
    let mut tx = api.db.begin().await?;
    let counted = attempts::count_guess(&mut tx, &api.world, ticket::CODE, &whose, guesser, person.address).await?;
    tx.commit().await?;
    counted?;
    let mut tx = api.db.begin().await?;
    if !factors::verify(&mut tx, api, user.id, code).await? {
        return Err(ApiError::new(ErrorCode::SecondFactorInvalid));
    }
    attempts::forgive(&mut tx, ticket::CODE, &whose, guesser, person.address).await?;
    tx.commit().await?;
    Ok(user)
}

/// Refuses an admin who acts as a person: how they sign in is theirs alone.
pub fn themselves(person: &Person) -> Result<(), ApiError> {
    match person.impersonator {
        None => Ok(()),
        Some(_) => {
            let message = "Whoever acts as a person cannot do what only they may.";
            Err(ApiError::saying(ErrorCode::SignInRequired, message))
        }
    }
}
