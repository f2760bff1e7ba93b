//! What somebody needs to know to set up a client: its own settings, and where the protocol is. Secrets are no part of it.

use clearway_config::{AccountId, ClientId, Scopes};
use serde::Serialize;
use utoipa::ToSchema;

use super::issuer;
use crate::{
    db::{self, On},
    http::Api,
    oauth::{
        clients::{AuthMethod, Client},
        store::clients as store,
    },
};

/// The settings of an OAuth application. Its secret was shown when it was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"client_id": "client_1QjvzY8L2d0ZB9oU4hXwVn", "scopes": ["read:stores"],
    "redirect_uris": ["https://app.example/callback"], "token_endpoint_auth_method": "client_secret_basic",
    "access_token_lifetime": 3600, "refresh_token_lifetime": 2592000, "authorize_url": "https://gateway.example.org/oauth/authorize",
    "token_url": "https://gateway.example.org/oauth/token", "revoke_url": "https://gateway.example.org/oauth/revoke"}))]
pub struct OauthConfigView {
    #[schema(value_type = String)]
    client_id: ClientId,
    #[schema(value_type = Vec<String>)]
    scopes: Scopes,
    redirect_uris: Vec<String>,
    token_endpoint_auth_method: AuthMethod,
    /// Seconds.
    access_token_lifetime: i64,
    /// Seconds.
    refresh_token_lifetime: i64,
    authorize_url: String,
    token_url: String,
    revoke_url: String,
}

/// Of a client, if it is the account's; `None` is every account, for admins.
pub async fn config_of<'c>(
    on: impl On<'c>,
    api: &Api,
    account: Option<AccountId>,
    id: ClientId,
) -> db::Result<Option<OauthConfigView>> {
    Ok(store::find(on, account, id).await?.map(|client| view(api, client)))
}

fn view(api: &Api, client: Client) -> OauthConfigView {
    let at = |name: &str| format!("{}/oauth/{name}", issuer(api));
    OauthConfigView {
        client_id: client.id,
        scopes: client.scopes,
        redirect_uris: client.redirect_uris,
        token_endpoint_auth_method: client.auth_method,
        access_token_lifetime: client.access_lifetime,
        refresh_token_lifetime: client.refresh_lifetime,
        authorize_url: at("authorize"),
        token_url: at("token"),
        revoke_url: at("revoke"),
    }
}
