-- Keys in people's authenticators (Web Authentication). The key is a public one, as the authenticator wrote it.
CREATE TABLE passkeys (
    id            TEXT COLLATE "C" PRIMARY KEY,
    user_id       TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    name          TEXT NOT NULL,
    credential_id BYTEA NOT NULL CHECK (length(credential_id) BETWEEN 1 AND 1023),
    public_key    BYTEA NOT NULL,
    counter       BIGINT NOT NULL,                              -- as the authenticator has said last; 0 where it does not count
    synced        BOOLEAN NOT NULL,     -- whether it may be on several devices
    authenticator BYTEA NOT NULL CHECK (length(authenticator) = 16),
    transports    TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    last_used_at  BIGINT
);
CREATE UNIQUE INDEX passkeys_credential_id_key ON passkeys (credential_id);
CREATE INDEX passkeys_user_id ON passkeys (user_id, id);

-- Challenges that were given out, and words that stand for a passkey that was shown: each is good once. Hashes are kept.
CREATE TABLE passkey_challenges (
    hash       BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    purpose    TEXT NOT NULL CHECK (purpose IN ('register', 'ticket', 'session', 'sign_in', 'proof')),
    beside     TEXT NOT NULL,    -- the session or ticket that it is good together with; or nothing
    user_id    TEXT COLLATE "C" REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX passkey_challenges_expires_at ON passkey_challenges (expires_at);
CREATE INDEX passkey_challenges_beside ON passkey_challenges (beside);
CREATE INDEX passkey_challenges_user_id ON passkey_challenges (user_id);
