-- Applications that register themselves (RFC 7591): by a token that an account has made, or, where that is let, by none.
CREATE TABLE oauth_registration_tokens (
    id          TEXT COLLATE "C" PRIMARY KEY,
    account_id  TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    name        TEXT NOT NULL,
    hash        BYTEA NOT NULL CHECK (length(hash) = 32),
    scopes      JSONB NOT NULL,        -- the most that an application may ask for
    grant_types JSONB NOT NULL,        -- those that one may have
    uses_max    BIGINT NOT NULL,
    uses        BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX oauth_registration_tokens_hash ON oauth_registration_tokens (hash);
CREATE INDEX oauth_registration_tokens_account_id ON oauth_registration_tokens (account_id, id);
CREATE INDEX oauth_registration_tokens_expires_at ON oauth_registration_tokens (expires_at);

ALTER TABLE oauth_clients ADD COLUMN registered_by TEXT COLLATE "C";    -- 'anyone', or the token; NULL: by its account
ALTER TABLE oauth_clients ADD COLUMN registration_hash BYTEA;           -- of what the application looks after itself by (RFC 7592)
CREATE INDEX oauth_clients_registered_by ON oauth_clients (registered_by, created_at) WHERE registered_by IS NOT NULL;
