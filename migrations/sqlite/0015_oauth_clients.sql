-- OAuth applications: who may ask people for access to their accounts, and what for.
CREATE TABLE oauth_clients (
    id               TEXT PRIMARY KEY,
    account_id       TEXT NOT NULL REFERENCES accounts (id),
    name             TEXT NOT NULL,
    homepage         TEXT,
    auth_method      TEXT NOT NULL,    -- token_endpoint_auth_method (RFC 7591, 2)
    grant_types      TEXT NOT NULL,    -- JSON
    redirect_uris    TEXT NOT NULL,    -- JSON
    scopes           TEXT NOT NULL,    -- JSON
    access_lifetime  INTEGER NOT NULL, -- seconds
    refresh_lifetime INTEGER NOT NULL, -- seconds
    disabled_at      INTEGER,
    generation       INTEGER NOT NULL, -- counts how often all that was issued was ended at once
    version          INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX oauth_clients_account_id ON oauth_clients (account_id, id);

-- Of a secret its hash is kept: 256 random bits need no slow one. Older ones overlap the newest for a while.
CREATE TABLE oauth_client_secrets (
    id         TEXT PRIMARY KEY,
    client_id  TEXT NOT NULL REFERENCES oauth_clients (id),
    hash       BLOB NOT NULL CHECK (length(hash) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;
CREATE INDEX oauth_client_secrets_client_id ON oauth_client_secrets (client_id, created_at);
CREATE INDEX oauth_client_secrets_expires_at ON oauth_client_secrets (expires_at);

-- What access tokens are signed by: the private key sealed, the public one as a JWK. A key is published before it signs.
CREATE TABLE oauth_signing_keys (
    id          TEXT PRIMARY KEY,      -- its thumbprint (RFC 7638)
    sealed      BLOB NOT NULL,
    jwk         TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    signs_from  INTEGER NOT NULL
) STRICT;
