-- What proves an address of somebody who is no user yet. A user and an account are made once it was proved: what was
-- only asked for leaves nothing behind. Of the token its hash is kept.
CREATE TABLE registrations (
    hash          BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    email         TEXT NOT NULL,
    name          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL
);
CREATE INDEX registrations_email ON registrations (email, created_at);
CREATE INDEX registrations_expires_at ON registrations (expires_at);

-- Tokens that are good once, for what they were mailed for.
CREATE TABLE user_tokens (
    hash       BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    user_id    TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    purpose    TEXT NOT NULL CHECK (purpose IN ('reset_password', 'sign_in', 'change_email', 'second_factor')),
    email      TEXT NOT NULL,    -- where it was sent, which is what it proves
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX user_tokens_user_id ON user_tokens (user_id);
CREATE INDEX user_tokens_expires_at ON user_tokens (expires_at);

-- Attempts since began_at, of what a hash stands for: guesses at a password, mails to an address.
CREATE TABLE counted_attempts (
    subject  BYTEA PRIMARY KEY CHECK (length(subject) = 32),
    count    BIGINT NOT NULL,
    began_at BIGINT NOT NULL,
    ends_at  BIGINT NOT NULL
);
CREATE INDEX counted_attempts_ends_at ON counted_attempts (ends_at);

-- Devices on which somebody has signed in: their failures are counted apart from those of strangers.
CREATE TABLE devices (
    hash         BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    user_id      TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL
);
CREATE INDEX devices_user_id ON devices (user_id, last_used_at);
CREATE INDEX devices_last_used_at ON devices (last_used_at);

-- Mails where no mail server is set: for the operator to read.
CREATE TABLE mailbox (
    id         TEXT COLLATE "C" PRIMARY KEY,
    recipient  TEXT NOT NULL,
    subject    TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX mailbox_created_at ON mailbox (created_at);
