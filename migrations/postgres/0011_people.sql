-- The account of whoever runs Clearway: its owners and admins may act on every account.
ALTER TABLE accounts ADD COLUMN platform BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE accounts SET platform = TRUE WHERE id = (SELECT account_id FROM users ORDER BY created_at, id LIMIT 1);

-- users.account_id is the account that was made with the person; in which roles it is where, `memberships` says.
-- users.role is for versions that do not know those yet. An empty password_hash is that of nobody: sign-in is by other means.
ALTER TABLE users ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN email_verified_at BIGINT;
ALTER TABLE users ADD COLUMN password_changed_at BIGINT;
ALTER TABLE users ADD COLUMN suspended_at BIGINT;
ALTER TABLE users ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
-- Who was there before was made by whoever runs this: nobody has to prove the address.
UPDATE users SET email_verified_at = created_at;

CREATE TABLE memberships (
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    user_id    TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    role       TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, user_id)
);
CREATE INDEX memberships_user_id ON memberships (user_id, account_id);
INSERT INTO memberships (account_id, user_id, role, created_at) SELECT account_id, id, role, created_at FROM users;

-- People who have signed in. A token's hash is all that is kept of it; the one before is good until the newer one is first
-- used, in case the answer that gave the newer one out was lost.
CREATE TABLE sessions (
    id              TEXT COLLATE "C" PRIMARY KEY,
    user_id         TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    account_id      TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),    -- whom it acts for unless a request says otherwise
    hash            BYTEA NOT NULL CHECK (length(hash) = 32),
    previous_hash   BYTEA CHECK (length(previous_hash) = 32),
    impersonator_id TEXT,                                       -- the admin who acts as this person
    address         TEXT NOT NULL,
    user_agent      TEXT NOT NULL,
    second_factor   BOOLEAN NOT NULL,    -- whether one was shown
    created_at      BIGINT NOT NULL,
    last_used_at    BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    ended_at        BIGINT
);
CREATE UNIQUE INDEX sessions_hash_key ON sessions (hash);
CREATE UNIQUE INDEX sessions_previous_hash_key ON sessions (previous_hash) WHERE previous_hash IS NOT NULL;
CREATE INDEX sessions_user_id ON sessions (user_id, id);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- Who acted as the person that an entry names.
ALTER TABLE audit_log ADD COLUMN impersonator_id TEXT;
