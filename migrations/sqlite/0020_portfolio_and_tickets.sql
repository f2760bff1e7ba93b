-- What developers show of themselves beside their apps.
CREATE TABLE projects (
    id           TEXT PRIMARY KEY,
    account_id   TEXT NOT NULL REFERENCES accounts (id),
    title        TEXT NOT NULL,
    summary      TEXT NOT NULL,
    description  TEXT NOT NULL,
    url          TEXT,
    tags         TEXT NOT NULL,
    app_id       TEXT REFERENCES apps (id),                         -- the app that came of it
    version      INTEGER NOT NULL,
    published_at INTEGER,                                           -- NULL: nobody else sees it
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX projects_account_id ON projects (account_id, id);

-- What accounts ask whoever runs Clearway.
CREATE TABLE tickets (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    subject    TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'answered', 'closed')),
    messages   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX tickets_account_id ON tickets (account_id, id);
CREATE INDEX tickets_state ON tickets (state, id);
CREATE TABLE ticket_messages (
    ticket_id  TEXT NOT NULL REFERENCES tickets (id),
    number     INTEGER NOT NULL,
    author     TEXT NOT NULL,                                       -- user_… or key_…
    staff      INTEGER NOT NULL CHECK (staff IN (0, 1)),            -- whether the operator wrote it
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (ticket_id, number)
) STRICT, WITHOUT ROWID;
