-- What an account has let an application do: by a person who agreed, or, without one, the application in its own account.
-- Everything that was issued for it belongs to it, and ends with it.
CREATE TABLE oauth_grants (
    id            TEXT PRIMARY KEY,
    client_id     TEXT NOT NULL REFERENCES oauth_clients (id),
    account_id    TEXT NOT NULL REFERENCES accounts (id),
    user_id       TEXT,
    scopes        TEXT NOT NULL,       -- JSON
    created_at    INTEGER NOT NULL,
    last_used_at  INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    revoked_at    INTEGER,
    revoked_for   TEXT                 -- why, in a word
) STRICT;
CREATE INDEX oauth_grants_account_id ON oauth_grants (account_id, id);
CREATE INDEX oauth_grants_client_id ON oauth_grants (client_id, id);
CREATE INDEX oauth_grants_user_id ON oauth_grants (user_id, id);
CREATE INDEX oauth_grants_expires_at ON oauth_grants (expires_at);

-- Authorization codes, by their hash. One that was used stays until it would have expired, so that a second use is noticed.
CREATE TABLE oauth_codes (
    hash           BLOB PRIMARY KEY CHECK (length(hash) = 32),
    grant_id       TEXT NOT NULL REFERENCES oauth_grants (id),
    client_id      TEXT NOT NULL REFERENCES oauth_clients (id),
    redirect_uri   TEXT NOT NULL,
    code_challenge TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    used_at        INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX oauth_codes_grant_id ON oauth_codes (grant_id);
CREATE INDEX oauth_codes_client_id ON oauth_codes (client_id);
CREATE INDEX oauth_codes_expires_at ON oauth_codes (expires_at);

-- Refresh tokens, by their hash. What was answered for one is kept sealed until the one that it gave is first used, in case
-- the answer was lost.
CREATE TABLE oauth_refresh_tokens (
    hash          BLOB PRIMARY KEY CHECK (length(hash) = 32),
    grant_id      TEXT NOT NULL REFERENCES oauth_grants (id),
    replaces      BLOB CHECK (length(replaces) = 32),
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    used_at       INTEGER,
    repeats       INTEGER NOT NULL DEFAULT 0,
    sealed_answer BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX oauth_refresh_tokens_grant_id ON oauth_refresh_tokens (grant_id);
CREATE INDEX oauth_refresh_tokens_expires_at ON oauth_refresh_tokens (expires_at);

-- What makes access tokens void before their time: a grant, an application or a single token, until no token of it can be
-- in force any more.
CREATE TABLE oauth_revocations (
    id         TEXT PRIMARY KEY,
    until      INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX oauth_revocations_until ON oauth_revocations (until);
