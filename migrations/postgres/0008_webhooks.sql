-- A merchant's store is called one; what numbers revisions is a database.
ALTER TABLE stores RENAME TO databases;
ALTER INDEX stores_pkey RENAME TO databases_pkey;

-- How long an account's events, and what became of them, are kept.
ALTER TABLE plans ADD COLUMN event_retention_days BIGINT NOT NULL DEFAULT 30 CHECK (event_retention_days > 0);

-- What an account's X-<Brand>-Signature is called.
ALTER TABLE accounts ADD COLUMN brand TEXT NOT NULL DEFAULT 'Clearway';

-- When a key's account is to be told that it has expired; NULL once it has been. Past ones need not be told of.
ALTER TABLE api_keys ADD COLUMN expiry_due BIGINT;
UPDATE api_keys SET expiry_due = expires_at WHERE expires_at > extract(epoch FROM now()) * 1000 AND revoked_at IS NULL;
CREATE INDEX api_keys_expiry_due ON api_keys (expiry_due) WHERE expiry_due IS NOT NULL;

-- Which quotas were reached in which day or month, so that each is told of once. Days are counted from 1970; a month is
-- its first day.
CREATE TABLE quotas_reached (
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('account', 'key')),
    subject_id   TEXT COLLATE "C" NOT NULL,
    period       TEXT NOT NULL CHECK (period IN ('day', 'month')),
    first_day    BIGINT NOT NULL,
    reached_at   BIGINT NOT NULL,
    PRIMARY KEY (subject_kind, subject_id, period, first_day)
);
CREATE INDEX quotas_reached_reached_at ON quotas_reached (reached_at);

-- Who is told of events. What is secret of it is sealed by a data key.
CREATE TABLE webhooks (
    id                   TEXT COLLATE "C" PRIMARY KEY,
    account_id           TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    url                  TEXT NOT NULL,
    description          TEXT NOT NULL,
    events               JSONB NOT NULL,          -- types and patterns such as product.*
    filter               TEXT,                    -- an expression; NULL takes every event of these types
    headers              JSONB NOT NULL,
    sealed_authorization BYTEA,
    active               BOOLEAN NOT NULL,        -- as its owner wants it
    retry_policy         JSONB NOT NULL,
    rate_limit           BIGINT CHECK (rate_limit > 0),      -- attempts a second
    concurrency          BIGINT NOT NULL CHECK (concurrency > 0),
    ordering             TEXT NOT NULL CHECK (ordering IN ('none', 'object')),
    brand                TEXT,                    -- NULL is the account's
    ed25519              BOOLEAN NOT NULL,        -- signs by v1a too
    timeouts             JSONB NOT NULL,
    client_certificate   TEXT,
    sealed_client_key    BYTEA,
    oauth                JSONB,
    sealed_oauth_secret  BYTEA,
    version              BIGINT NOT NULL,
    created_at           BIGINT NOT NULL,
    updated_at           BIGINT NOT NULL
);
CREATE INDEX webhooks_account_id ON webhooks (account_id, id);

-- How a webhook fares. Apart from webhooks, because it is written by deliveries and not by its owner; without a reference
-- to them, because what is left of one that was deleted says whose deliveries are still to be cancelled.
CREATE TABLE webhook_health (
    webhook_id      TEXT COLLATE "C" PRIMARY KEY,
    failing_since   BIGINT,                       -- no attempt has succeeded since
    warned_at       BIGINT,
    disabled_at     BIGINT,
    disabled_reason TEXT,
    -- No later than the earliest due_at of its deliveries; NULL where none is due. The queue of queues.
    due_at          BIGINT
);
CREATE INDEX webhook_health_due_at ON webhook_health (due_at) WHERE due_at IS NOT NULL;

-- What a webhook's deliveries are signed by: one current, and those that still overlap it.
CREATE TABLE webhook_secrets (
    id                  TEXT COLLATE "C" PRIMARY KEY,
    webhook_id          TEXT COLLATE "C" NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    sealed_hmac_key     BYTEA NOT NULL,
    sealed_ed25519_seed BYTEA,
    ed25519_public_key  TEXT,
    created_at          BIGINT NOT NULL,
    expires_at          BIGINT
);
CREATE INDEX webhook_secrets_webhook_id ON webhook_secrets (webhook_id, id);
CREATE INDEX webhook_secrets_expires_at ON webhook_secrets (expires_at) WHERE expires_at IS NOT NULL;

-- Types of events that an operator's own services emit.
CREATE TABLE event_types (
    name        TEXT COLLATE "C" PRIMARY KEY,
    version     BIGINT NOT NULL,
    description TEXT NOT NULL,
    schema      JSONB NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);

-- One row: the last sequence that was given to an event. Locked until the commit, so that sequences are in commit order.
CREATE TABLE event_sequence (
    last BIGINT NOT NULL
);
INSERT INTO event_sequence (last) VALUES (0);

-- The outbox: what happened, written together with what it speaks of, numbered in commit order.
CREATE TABLE events (
    sequence        BIGINT PRIMARY KEY,
    id              TEXT COLLATE "C" NOT NULL,
    account_id      TEXT COLLATE "C" NOT NULL,
    type            TEXT COLLATE "C" NOT NULL,
    version         BIGINT NOT NULL,
    object_id       TEXT COLLATE "C",
    body            TEXT NOT NULL,                -- what is posted, byte for byte
    only_for        TEXT COLLATE "C",              -- a webhook that is tried out: nobody else is told
    idempotency_key TEXT COLLATE "C",
    fingerprint     BYTEA,                        -- of what came with that key
    created_at      BIGINT NOT NULL
);
CREATE UNIQUE INDEX events_id_key ON events (id);
CREATE UNIQUE INDEX events_idempotency_key_key ON events (account_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX events_account_id ON events (account_id, sequence);

-- One event on its way to one webhook. Most are written once, when they have succeeded, and are then in three indexes; the
-- other indexes hold what is unfinished or has failed. No references: each would cost a look at every insert, and what a
-- deleted webhook leaves behind is cancelled and swept in small parts.
CREATE TABLE deliveries (
    id             TEXT COLLATE "C" PRIMARY KEY,
    account_id     TEXT COLLATE "C" NOT NULL,
    webhook_id     TEXT COLLATE "C" NOT NULL,
    sequence       BIGINT NOT NULL,               -- the event's
    event_type     TEXT COLLATE "C" NOT NULL,
    object_id      TEXT COLLATE "C",
    -- The object whose deliveries follow one another, where the webhook's ordering asks for it.
    order_key      TEXT COLLATE "C",
    -- waiting: behind an earlier one of the same order_key
    state          TEXT NOT NULL CHECK (state IN ('pending', 'waiting', 'succeeded', 'failed', 'cancelled')),
    due_at         BIGINT,                        -- of a pending one; of a claimed one, when the claim ends
    claimed        BOOLEAN NOT NULL,              -- in the memory of who holds dispatch
    attempts       BIGINT NOT NULL,
    schedule_start BIGINT NOT NULL,               -- attempts that were made before its schedule last began
    not_before     BIGINT,                        -- of a waiting one that was begun anew, so many a second
    last_status    BIGINT,
    last_failure   TEXT,
    created_at     BIGINT NOT NULL,
    completed_at   BIGINT
);
CREATE INDEX deliveries_account_id ON deliveries (account_id, id);
CREATE UNIQUE INDEX deliveries_webhook_id_sequence_key ON deliveries (webhook_id, sequence);
CREATE INDEX deliveries_due_at ON deliveries (webhook_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_claimed ON deliveries (id) WHERE claimed;
CREATE INDEX deliveries_order_key ON deliveries (webhook_id, order_key, state, sequence) WHERE order_key IS NOT NULL AND completed_at IS NULL;
CREATE INDEX deliveries_unfinished ON deliveries (sequence) WHERE completed_at IS NULL;
CREATE INDEX deliveries_failed ON deliveries (webhook_id, sequence) WHERE state IN ('failed', 'cancelled');

-- One try of a delivery. Headers are lines, `name: value`.
CREATE TABLE attempts (
    delivery_id       TEXT COLLATE "C" NOT NULL,
    number            BIGINT NOT NULL,
    started_at        BIGINT NOT NULL,
    duration_us       BIGINT NOT NULL,
    status            BIGINT,
    failure           TEXT,
    reason            TEXT,
    address           TEXT,
    request_headers   TEXT NOT NULL,
    response_headers  TEXT NOT NULL,
    response_body     TEXT NOT NULL,
    response_body_cut BOOLEAN NOT NULL,
    next_attempt_at   BIGINT,
    PRIMARY KEY (delivery_id, number)
);

-- One row: how far events have become deliveries, and which control process makes them and has them attempted. Whoever
-- writes either does so only while it is the holder.
CREATE TABLE dispatch (
    fanned_out BIGINT NOT NULL,
    holder     TEXT COLLATE "C",
    seen_at    BIGINT NOT NULL
);
INSERT INTO dispatch (fanned_out, holder, seen_at) VALUES (0, NULL, 0);

CREATE TABLE stores (
    id         TEXT COLLATE "C" PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    name       TEXT NOT NULL,
    currency   TEXT NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX stores_account_id ON stores (account_id, id);

CREATE TABLE products (
    id          TEXT COLLATE "C" PRIMARY KEY,
    store_id    TEXT COLLATE "C" NOT NULL REFERENCES stores (id),
    account_id  TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    sku         TEXT COLLATE "C",
    title       TEXT NOT NULL,
    description TEXT NOT NULL,
    price       BIGINT NOT NULL CHECK (price >= 0),
    currency    TEXT NOT NULL,
    quantity    BIGINT,                           -- NULL: not counted
    image_url   TEXT,
    active      BOOLEAN NOT NULL,
    attributes  JSONB NOT NULL,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX products_store_id ON products (store_id, id);
CREATE UNIQUE INDEX products_store_id_sku_key ON products (store_id, sku) WHERE sku IS NOT NULL;

-- Mail on its way out.
CREATE TABLE mails (
    id         TEXT COLLATE "C" PRIMARY KEY,
    recipient  TEXT NOT NULL,
    subject    TEXT NOT NULL,
    body       TEXT NOT NULL,
    due_at     BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX mails_due_at ON mails (due_at);
