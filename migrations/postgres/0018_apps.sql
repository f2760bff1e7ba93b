-- Apps that developers offer to other accounts. What the catalogue shows is the live version; what is written and reviewed is
-- the proposal. Until a first version is live an app's state is that of its proposal.
CREATE TABLE apps (
    id              TEXT COLLATE "C" PRIMARY KEY,
    account_id      TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    slug            TEXT COLLATE "C" NOT NULL,                                  -- never given to another app
    state           TEXT NOT NULL CHECK (state IN ('draft', 'pending', 'in_review', 'rejected', 'approved', 'active', 'suspended',
                                                   'deprecated', 'removed')),
    live_id         TEXT COLLATE "C",
    proposal_id     TEXT COLLATE "C",
    reason          TEXT,                                           -- why it is suspended, or was removed
    version         BIGINT NOT NULL,
    published_at    BIGINT,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL
);
CREATE UNIQUE INDEX apps_slug_key ON apps (slug);
CREATE INDEX apps_account_id ON apps (account_id, id);

CREATE TABLE app_versions (
    id           TEXT COLLATE "C" PRIMARY KEY,
    app_id       TEXT COLLATE "C" NOT NULL REFERENCES apps (id),
    number       TEXT COLLATE "C" NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('draft', 'pending', 'in_review', 'rejected', 'approved', 'active', 'deprecated')),
    content      JSONB NOT NULL,
    findings     JSONB NOT NULL,                                     -- of the automatic checks
    probe_id     TEXT COLLATE "C",                                              -- the webhook that the checks post by
    check_due    BIGINT,                                           -- when the checks are run (again)
    submitted_at BIGINT,
    decided_at   BIGINT,
    decided_by   TEXT COLLATE "C",
    reason       TEXT,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);
CREATE UNIQUE INDEX app_versions_app_id_number_key ON app_versions (app_id, number);
CREATE INDEX app_versions_queue ON app_versions (submitted_at, id) WHERE state IN ('pending', 'in_review');
CREATE INDEX app_versions_check_due ON app_versions (check_due) WHERE check_due IS NOT NULL;
