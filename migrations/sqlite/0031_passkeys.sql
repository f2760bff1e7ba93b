-- Keys in people's authenticators (Web Authentication). The key is a public one, as the authenticator wrote it.
CREATE TABLE passkeys (
    id            TEXT PRIMARY KEY,
    user_id       TEXT NOT NULL REFERENCES users (id),
    name          TEXT NOT NULL,
    credential_id BLOB NOT NULL CHECK (length(credential_id) BETWEEN 1 AND 1023),
    public_key    BLOB NOT NULL,
    counter       INTEGER NOT NULL,                              -- as the authenticator has said last; 0 where it does not count
    synced        INTEGER NOT NULL CHECK (synced IN (0, 1)),     -- whether it may be on several devices
    authenticator BLOB NOT NULL CHECK (length(authenticator) = 16),
    transports    TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    last_used_at  INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX passkeys_credential_id_key ON passkeys (credential_id);
CREATE INDEX passkeys_user_id ON passkeys (user_id, id);

-- Challenges that were given out, and words that stand for a passkey that was shown: each is good once. Hashes are kept.
CREATE TABLE passkey_challenges (
    hash       BLOB PRIMARY KEY CHECK (length(hash) = 32),
    purpose    TEXT NOT NULL CHECK (purpose IN ('register', 'ticket', 'session', 'sign_in', 'proof')),
    beside     TEXT NOT NULL,    -- the session or ticket that it is good together with; or nothing
    user_id    TEXT REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX passkey_challenges_expires_at ON passkey_challenges (expires_at);
CREATE INDEX passkey_challenges_beside ON passkey_challenges (beside);
CREATE INDEX passkey_challenges_user_id ON passkey_challenges (user_id);
