-- Times are milliseconds since 1970 UTC, ids are text that sorts by time of making, money is
-- micro-units. JSON is text.

-- One row: which database this is. Revisions are numbered within it.
CREATE TABLE stores (
    id         TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE plans (
    name          TEXT PRIMARY KEY,
    title         TEXT NOT NULL,
    position      INTEGER NOT NULL,
    per_second    INTEGER CHECK (per_second > 0),
    per_day       INTEGER CHECK (per_day > 0),
    per_month     INTEGER CHECK (per_month > 0),
    concurrent    INTEGER CHECK (concurrent > 0),
    overage       INTEGER NOT NULL CHECK (overage IN (0, 1)),
    keys_max      INTEGER CHECK (keys_max >= 0),
    price_monthly INTEGER,
    price_annual  INTEGER,
    currency      TEXT NOT NULL,
    retired       INTEGER NOT NULL CHECK (retired IN (0, 1))
) STRICT;

CREATE TABLE accounts (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    suspended_at INTEGER
) STRICT;

-- An account's plan is that of its one subscription that has not ended.
CREATE TABLE subscriptions (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    plan       TEXT NOT NULL REFERENCES plans (name),
    started_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;
CREATE UNIQUE INDEX subscriptions_account_id_key ON subscriptions (account_id) WHERE ended_at IS NULL;
CREATE INDEX subscriptions_plan ON subscriptions (plan) WHERE ended_at IS NULL;

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    account_id    TEXT NOT NULL REFERENCES accounts (id),
    email         TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    password_hash TEXT NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_email_key ON users (email);
CREATE INDEX users_account_id ON users (account_id);

CREATE TABLE api_keys (
    id                TEXT PRIMARY KEY,
    account_id        TEXT NOT NULL REFERENCES accounts (id),
    name              TEXT NOT NULL,
    environment       TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    scopes            TEXT NOT NULL,
    allowed_addresses TEXT NOT NULL,
    per_second        INTEGER CHECK (per_second > 0),
    per_day           INTEGER CHECK (per_day > 0),
    per_month         INTEGER CHECK (per_month > 0),
    concurrent        INTEGER CHECK (concurrent > 0),
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER,
    revoked_at        INTEGER
) STRICT;
CREATE INDEX api_keys_account_id ON api_keys (account_id, id);

-- The versions of a key: one current, and those that still overlap it.
CREATE TABLE key_secrets (
    id         TEXT PRIMARY KEY,
    key_id     TEXT NOT NULL REFERENCES api_keys (id),
    hash       BLOB NOT NULL CHECK (length(hash) = 32),
    shown      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX key_secrets_hash_key ON key_secrets (hash);
CREATE INDEX key_secrets_key_id ON key_secrets (key_id, id);
CREATE INDEX key_secrets_expires_at ON key_secrets (expires_at) WHERE expires_at IS NOT NULL;

-- When and from where a key was last used. Apart from api_keys, because it is written all the time.
CREATE TABLE key_uses (
    key_id            TEXT PRIMARY KEY,
    last_used_at      INTEGER NOT NULL,
    last_used_address TEXT
) STRICT;

-- Requests admitted a day, as the greatest total that each ledger has reported: resending adds nothing.
CREATE TABLE usage_days (
    proxy_id     TEXT NOT NULL,
    ledger_id    BLOB NOT NULL,
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('account', 'key')),
    subject_id   TEXT NOT NULL,
    day          INTEGER NOT NULL,
    admitted     INTEGER NOT NULL CHECK (admitted >= 0),
    PRIMARY KEY (subject_kind, subject_id, day, ledger_id, proxy_id)
) STRICT, WITHOUT ROWID;

-- What was done, by whom and from where. It outlives what it speaks of, so it refers to nothing.
CREATE TABLE audit_log (
    id          TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL,
    at          INTEGER NOT NULL,
    actor_kind  TEXT NOT NULL CHECK (actor_kind IN ('key', 'user', 'system')),
    actor_id    TEXT NOT NULL,
    address     TEXT,
    request_id  TEXT,
    action      TEXT NOT NULL,
    object_kind TEXT NOT NULL,
    object_id   TEXT NOT NULL,
    changes     TEXT NOT NULL
) STRICT;
CREATE INDEX audit_log_account_id ON audit_log (account_id, id);
CREATE INDEX audit_log_object_id ON audit_log (object_id, id);

-- What proxies must learn, numbered in commit order.
CREATE TABLE changes (
    revision   INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('plan', 'account', 'key', 'secret_removed')),
    subject_id TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- lease_ms is NULL for a proxy that was told to serve without a lease.
CREATE TABLE proxies (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    version      TEXT NOT NULL,
    revision     INTEGER NOT NULL,
    lease_ms     INTEGER,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL
) STRICT;

-- What a POST with an Idempotency-Key was answered, without any secret.
CREATE TABLE idempotency_keys (
    caller_id       TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint     BLOB NOT NULL,
    status          INTEGER NOT NULL,
    body            TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (caller_id, idempotency_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
