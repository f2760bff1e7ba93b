-- Who people are at sign-in providers. What an issuer calls its person, `subject`, is theirs for good; the provider's name is
-- that of the settings, and the address the one that was said last: both are only shown.
CREATE TABLE identities (
    id           TEXT COLLATE "C" PRIMARY KEY,
    user_id      TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    provider     TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    email        TEXT,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT
);
CREATE UNIQUE INDEX identities_issuer_subject_key ON identities (issuer, subject);
CREATE INDEX identities_user_id ON identities (user_id, id);

-- Browsers that were sent to a provider and are not back yet. Of `state` and of the browser's cookie hashes are kept; nonce and
-- verifier follow from both and are not stored. With a user: who wants to link what the provider says.
CREATE TABLE provider_requests (
    hash       BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    browser    BYTEA NOT NULL CHECK (length(browser) = 32),
    provider   TEXT NOT NULL,
    return_to  TEXT NOT NULL,
    user_id    TEXT COLLATE "C" REFERENCES users (id),
    session_id TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX provider_requests_expires_at ON provider_requests (expires_at);
CREATE INDEX provider_requests_user_id ON provider_requests (user_id);
