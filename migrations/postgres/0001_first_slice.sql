-- Times are milliseconds since 1970 UTC, ids are text that sorts by time of making, money is
-- micro-units. Text that is compared or paged by is collated "C", as on SQLite.

-- One row: which database this is. Revisions are numbered within it.
CREATE TABLE stores (
    id         TEXT COLLATE "C" PRIMARY KEY,
    created_at BIGINT NOT NULL
);

CREATE TABLE plans (
    name          TEXT COLLATE "C" PRIMARY KEY,
    title         TEXT NOT NULL,
    position      BIGINT NOT NULL,
    per_second    BIGINT CHECK (per_second > 0),
    per_day       BIGINT CHECK (per_day > 0),
    per_month     BIGINT CHECK (per_month > 0),
    concurrent    BIGINT CHECK (concurrent > 0),
    overage       BOOLEAN NOT NULL,
    keys_max      BIGINT CHECK (keys_max >= 0),
    price_monthly BIGINT,
    price_annual  BIGINT,
    currency      TEXT NOT NULL,
    retired       BOOLEAN NOT NULL
);

CREATE TABLE accounts (
    id           TEXT COLLATE "C" PRIMARY KEY,
    name         TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    suspended_at BIGINT
);

-- An account's plan is that of its one subscription that has not ended.
CREATE TABLE subscriptions (
    id         TEXT COLLATE "C" PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    plan       TEXT COLLATE "C" NOT NULL REFERENCES plans (name),
    started_at BIGINT NOT NULL,
    ended_at   BIGINT
);
CREATE UNIQUE INDEX subscriptions_account_id_key ON subscriptions (account_id) WHERE ended_at IS NULL;
CREATE INDEX subscriptions_plan ON subscriptions (plan) WHERE ended_at IS NULL;

CREATE TABLE users (
    id            TEXT COLLATE "C" PRIMARY KEY,
    account_id    TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    email         TEXT COLLATE "C" NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    password_hash TEXT NOT NULL,
    created_at    BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_email_key ON users (email);
CREATE INDEX users_account_id ON users (account_id);

CREATE TABLE api_keys (
    id                TEXT COLLATE "C" PRIMARY KEY,
    account_id        TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    name              TEXT NOT NULL,
    environment       TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    scopes            JSONB NOT NULL,
    allowed_addresses JSONB NOT NULL,
    per_second        BIGINT CHECK (per_second > 0),
    per_day           BIGINT CHECK (per_day > 0),
    per_month         BIGINT CHECK (per_month > 0),
    concurrent        BIGINT CHECK (concurrent > 0),
    created_at        BIGINT NOT NULL,
    expires_at        BIGINT,
    revoked_at        BIGINT
);
CREATE INDEX api_keys_account_id ON api_keys (account_id, id);

-- The versions of a key: one current, and those that still overlap it.
CREATE TABLE key_secrets (
    id         TEXT COLLATE "C" PRIMARY KEY,
    key_id     TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
    hash       BYTEA NOT NULL CHECK (octet_length(hash) = 32),
    shown      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX key_secrets_hash_key ON key_secrets (hash);
CREATE INDEX key_secrets_key_id ON key_secrets (key_id, id);
CREATE INDEX key_secrets_expires_at ON key_secrets (expires_at) WHERE expires_at IS NOT NULL;

-- When and from where a key was last used. Apart from api_keys, because it is written all the time.
CREATE TABLE key_uses (
    key_id            TEXT COLLATE "C" PRIMARY KEY,
    last_used_at      BIGINT NOT NULL,
    last_used_address TEXT
);

-- Requests admitted a day, as the greatest total that each ledger has reported: resending adds nothing.
CREATE TABLE usage_days (
    proxy_id     TEXT COLLATE "C" NOT NULL,
    ledger_id    BYTEA NOT NULL,
    subject_kind TEXT COLLATE "C" NOT NULL CHECK (subject_kind IN ('account', 'key')),
    subject_id   TEXT COLLATE "C" NOT NULL,
    day          BIGINT NOT NULL,
    admitted     BIGINT NOT NULL CHECK (admitted >= 0),
    PRIMARY KEY (subject_kind, subject_id, day, ledger_id, proxy_id)
);

-- What was done, by whom and from where. It outlives what it speaks of, so it refers to nothing.
CREATE TABLE audit_log (
    id          TEXT COLLATE "C" PRIMARY KEY,
    account_id  TEXT COLLATE "C" NOT NULL,
    at          BIGINT NOT NULL,
    actor_kind  TEXT NOT NULL CHECK (actor_kind IN ('key', 'user', 'system')),
    actor_id    TEXT COLLATE "C" NOT NULL,
    address     TEXT,
    request_id  TEXT,
    action      TEXT COLLATE "C" NOT NULL,
    object_kind TEXT NOT NULL,
    object_id   TEXT COLLATE "C" NOT NULL,
    changes     JSONB NOT NULL
);
CREATE INDEX audit_log_account_id ON audit_log (account_id, id);
CREATE INDEX audit_log_object_id ON audit_log (object_id, id);

-- What proxies must learn, numbered in commit order.
CREATE TABLE changes (
    revision   BIGINT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('plan', 'account', 'key', 'secret_removed')),
    subject_id TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

-- lease_ms is NULL for a proxy that was told to serve without a lease.
CREATE TABLE proxies (
    id           TEXT COLLATE "C" PRIMARY KEY,
    name         TEXT NOT NULL,
    version      TEXT NOT NULL,
    revision     BIGINT NOT NULL,
    lease_ms     BIGINT,
    created_at   BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL
);

-- What a POST with an Idempotency-Key was answered, without any secret.
CREATE TABLE idempotency_keys (
    caller_id       TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    fingerprint     BYTEA NOT NULL,
    status          BIGINT NOT NULL,
    body            TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (caller_id, idempotency_key)
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
