-- What the catalogue shows: a row for each app that was ever published. `words_*` are what is searched, folded; see
-- control/src/catalogue. `number` is made from the id of the app.
CREATE TABLE app_listings (
    number         BIGINT PRIMARY KEY,
    app_id         TEXT COLLATE "C" NOT NULL REFERENCES apps (id),
    account_id     TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    slug           TEXT COLLATE "C" NOT NULL,
    name           TEXT NOT NULL,
    summary        TEXT NOT NULL,
    category       TEXT NOT NULL,
    price_model    TEXT NOT NULL,
    details        JSONB NOT NULL,
    words_name     TEXT NOT NULL,
    words_summary  TEXT NOT NULL,
    words_rest     TEXT NOT NULL,
    listed         BOOLEAN NOT NULL,
    featured_at    BIGINT,
    installs       BIGINT NOT NULL,                                -- that are there now
    trend          BIGINT NOT NULL,                                -- installs of the last 14 days
    rating_count   BIGINT NOT NULL,
    rating_sum     BIGINT NOT NULL,
    rank           BIGINT NOT NULL,                                -- Bayesian mean of the ratings, in thousandths
    published_at   BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL
);
CREATE UNIQUE INDEX app_listings_app_id_key ON app_listings (app_id);
CREATE UNIQUE INDEX app_listings_slug_key ON app_listings (slug);
CREATE INDEX app_listings_installs ON app_listings (installs, number) WHERE listed;
CREATE INDEX app_listings_trend ON app_listings (trend, number) WHERE listed;
CREATE INDEX app_listings_rank ON app_listings (rank, number) WHERE listed;
CREATE INDEX app_listings_published_at ON app_listings (published_at, number) WHERE listed;
CREATE INDEX app_listings_featured_at ON app_listings (featured_at, number) WHERE featured_at IS NOT NULL;

ALTER TABLE app_listings ADD COLUMN search TSVECTOR NOT NULL GENERATED ALWAYS AS (
    setweight(to_tsvector('simple', words_name), 'A') || setweight(to_tsvector('simple', words_summary), 'B')
        || setweight(to_tsvector('simple', words_rest), 'D')
) STORED;
CREATE INDEX app_listings_search ON app_listings USING gin (search);

-- Collections that operators put together.
CREATE TABLE app_collections (
    slug       TEXT COLLATE "C" PRIMARY KEY,
    title      TEXT NOT NULL,
    summary    TEXT NOT NULL,
    position   BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE TABLE app_collection_entries (
    collection TEXT COLLATE "C" NOT NULL REFERENCES app_collections (slug),
    app_id     TEXT COLLATE "C" NOT NULL REFERENCES apps (id),
    position   BIGINT NOT NULL,
    PRIMARY KEY (collection, app_id)
);

-- An app in an account: what it may do there. One at a time.
CREATE TABLE installations (
    id             TEXT COLLATE "C" PRIMARY KEY,
    app_id         TEXT COLLATE "C" NOT NULL REFERENCES apps (id),
    account_id     TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    scopes         JSONB NOT NULL,
    app_version    TEXT NOT NULL,                                   -- the number of the one whose permissions were granted
    installed_by   TEXT COLLATE "C" NOT NULL,                                   -- user_… or key_…
    version        BIGINT NOT NULL,
    installed_at   BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    uninstalled_at BIGINT
);
CREATE UNIQUE INDEX installations_app_id_account_id_key ON installations (app_id, account_id) WHERE uninstalled_at IS NULL;
CREATE INDEX installations_account_id ON installations (account_id, id);
-- What ends with an installation.
CREATE TABLE installation_objects (
    installation_id TEXT COLLATE "C" NOT NULL REFERENCES installations (id),
    kind            TEXT COLLATE "C" NOT NULL CHECK (kind IN ('key', 'webhook')),
    object_id       TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (installation_id, kind, object_id)
);
CREATE UNIQUE INDEX installation_objects_object_id_key ON installation_objects (object_id);

CREATE TABLE app_reviews (
    id         TEXT COLLATE "C" PRIMARY KEY,
    app_id     TEXT COLLATE "C" NOT NULL REFERENCES apps (id),
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    author     TEXT COLLATE "C" NOT NULL,                                       -- user_… or key_…
    rating     BIGINT NOT NULL CHECK (rating BETWEEN 1 AND 5),
    comment    TEXT NOT NULL,
    reply      TEXT,
    replied_at BIGINT,
    reports    BIGINT NOT NULL,
    hidden_at  BIGINT,                                             -- by an operator: it neither shows nor counts
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX app_reviews_app_id_account_id_key ON app_reviews (app_id, account_id);
CREATE INDEX app_reviews_app_id ON app_reviews (app_id, id);
CREATE INDEX app_reviews_reports ON app_reviews (reports, id) WHERE reports > 0;
CREATE TABLE app_review_reports (
    review_id  TEXT COLLATE "C" NOT NULL REFERENCES app_reviews (id),
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    reason     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (review_id, account_id)
);

-- What happened to an app in a day (days since 1970 UTC).
CREATE TABLE app_days (
    app_id      TEXT COLLATE "C" NOT NULL REFERENCES apps (id),
    day         BIGINT NOT NULL,
    installs    BIGINT NOT NULL,
    uninstalls  BIGINT NOT NULL,
    reviews     BIGINT NOT NULL,
    rating_sum  BIGINT NOT NULL,
    PRIMARY KEY (app_id, day)
);
CREATE INDEX app_days_day ON app_days (day, app_id);
