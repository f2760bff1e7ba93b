-- The second factor: a time-based code (RFC 6238). Its seed is sealed; of a code that was taken the step is kept, so that none
-- is taken twice.
CREATE TABLE totp_factors (
    user_id      TEXT PRIMARY KEY REFERENCES users (id),
    seed         BLOB NOT NULL,
    last_step    INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    confirmed_at INTEGER    -- from then on it is asked for
) STRICT, WITHOUT ROWID;

-- Codes for whoever has lost the device, each good once. Of a code its hash is kept.
CREATE TABLE recovery_codes (
    hash       BLOB PRIMARY KEY CHECK (length(hash) = 32),
    user_id    TEXT NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX recovery_codes_user_id ON recovery_codes (user_id);
