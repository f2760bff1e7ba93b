-- Whom a member asks to join an account: one invitation for an address and account. Of the mailed token its hash is kept.
CREATE TABLE invitations (
    id         TEXT COLLATE "C" PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    email      TEXT NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('admin', 'developer', 'viewer')),
    hash       BYTEA NOT NULL CHECK (length(hash) = 32),
    invited_by TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX invitations_hash_key ON invitations (hash);
CREATE UNIQUE INDEX invitations_account_id_email_key ON invitations (account_id, email);
CREATE INDEX invitations_expires_at ON invitations (expires_at);
