-- What developers show of themselves beside their apps.
CREATE TABLE projects (
    id           TEXT COLLATE "C" PRIMARY KEY,
    account_id   TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    title        TEXT NOT NULL,
    summary      TEXT NOT NULL,
    description  TEXT NOT NULL,
    url          TEXT,
    tags         JSONB NOT NULL,
    app_id       TEXT COLLATE "C" REFERENCES apps (id),                         -- the app that came of it
    version      BIGINT NOT NULL,
    published_at BIGINT,                                           -- NULL: nobody else sees it
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);
CREATE INDEX projects_account_id ON projects (account_id, id);

-- What accounts ask whoever runs Clearway.
CREATE TABLE tickets (
    id         TEXT COLLATE "C" PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    subject    TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'answered', 'closed')),
    messages   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX tickets_account_id ON tickets (account_id, id);
CREATE INDEX tickets_state ON tickets (state, id);
CREATE TABLE ticket_messages (
    ticket_id  TEXT COLLATE "C" NOT NULL REFERENCES tickets (id),
    number     BIGINT NOT NULL,
    author     TEXT COLLATE "C" NOT NULL,                                       -- user_… or key_…
    staff      BOOLEAN NOT NULL,                                   -- whether the operator wrote it
    body       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (ticket_id, number)
);
