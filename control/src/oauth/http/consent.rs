//! What the pages have in common on which a person agrees: what is asked for, in which account, and what they can give of it.

use std::fmt::Write as _;

use clearway_config::{AccountId, ClientId, Scopes, scope::REGISTRY};

use super::page::{Escaped, hidden};
use crate::{
    db::{self, Tx},
    http::{Api, ApiError, Browser},
    members,
    oauth::{
        authorize::Wanted,
        clients::{Client, RegisteredBy},
        identity::Identity,
        params::Params,
        store::grants,
    },
};

/// Accounts that a person chooses among at most.
const ACCOUNTS_MAX: i64 = 100;
const TEXT: &str = "a String takes everything";

/// Who asks, and for what.
pub(super) fn asks(into: &mut String, client: &Client, wanted: &Wanted) {
    if client.registered_by == Some(RegisteredBy::Anyone) {
        into.push_str(
            "<p class=\"wrong\">This application has registered itself, under a name of its own choice: nobody here has looked at \
             whose it is. Go on only if you have just begun this there.</p>\n",
        );
    }
    let name = Escaped(&client.name);
    writeln!(into, "<p><strong>{name}</strong> asks for access to your account:</p>\n<ul>").expect(TEXT);
    let identity = Identity::SCOPES.into_iter().filter(|(word, _)| wanted.identity.words().any(|asked| asked == *word));
    let known = |scope: &str| REGISTRY.iter().find(|known| known.name == scope).map_or("", |known| known.says);
    let scopes = wanted.scopes.iter().map(|scope| (scope.as_str(), known(scope.as_str())));
    for (word, says) in identity.chain(scopes) {
        writeln!(into, "<li>{} <small>{}</small></li>", Escaped(says), Escaped(word)).expect(TEXT);
    }
    into.push_str("</ul>\n");
}

/// The rest of the form: which account, and yes or no.
pub(super) async fn decision(into: &mut String, api: &Api, browser: &Browser) -> db::Result<()> {
    let memberships = members::of_person(&api.db, browser.user_id, ACCOUNTS_MAX).await?;
    hidden(into, "csrf_token", &browser.csrf);
    into.push_str("<label for=\"account_id\">Account</label>\n<select name=\"account_id\" id=\"account_id\">\n");
    for membership in &memberships {
        let chosen = if membership.account_id == browser.account_id { " selected" } else { "" };
        let id = membership.account_id.to_string();
        writeln!(into, "<option value=\"{}\"{chosen}>{}</option>", Escaped(&id), Escaped(&membership.name)).expect(TEXT);
    }
    into.push_str(
        "</select>\n<button name=\"decision\" value=\"allow\">Allow</button>\n\
         <button name=\"decision\" value=\"deny\">Deny</button>\n</form>\n",
    );
    Ok(())
}

/// What the person gives, in the account that they have chosen; `None` where they may give nothing of it.
pub(super) async fn given(
    tx: &mut Tx,
    params: &Params,
    browser: &Browser,
    client: ClientId,
    wanted: &Wanted,
) -> Result<Option<(AccountId, Scopes)>, ApiError> {
    let account = match params.get("account_id") {
        Some(text) => text.parse::<AccountId>().map_err(|_| ApiError::not_found())?,
        None => browser.account_id,
    };
    let standing = grants::standing(&mut *tx, account, Some(browser.user_id), client).await?;
    let scopes = standing.and_then(|standing| standing.by_person(&wanted.scopes));
    let scopes = scopes.filter(|given| wanted.scopes.is_empty() || !given.is_empty());
    Ok(scopes.map(|scopes| (account, scopes)))
}
