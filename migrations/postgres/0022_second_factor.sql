-- The second factor: a time-based code (RFC 6238). Its seed is sealed; of a code that was taken the step is kept, so that none
-- is taken twice.
CREATE TABLE totp_factors (
    user_id      TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id),
    seed         BYTEA NOT NULL,
    last_step    BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    confirmed_at BIGINT    -- from then on it is asked for
);

-- Codes for whoever has lost the device, each good once. Of a code its hash is kept.
CREATE TABLE recovery_codes (
    hash       BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    user_id    TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL
);
CREATE INDEX recovery_codes_user_id ON recovery_codes (user_id);
