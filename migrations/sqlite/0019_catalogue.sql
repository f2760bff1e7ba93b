-- What the catalogue shows: a row for each app that was ever published. `words_*` are what is searched, folded; see
-- control/src/catalogue. `number` is made from the id of the app.
CREATE TABLE app_listings (
    number         INTEGER PRIMARY KEY,
    app_id         TEXT NOT NULL REFERENCES apps (id),
    account_id     TEXT NOT NULL REFERENCES accounts (id),
    slug           TEXT NOT NULL,
    name           TEXT NOT NULL,
    summary        TEXT NOT NULL,
    category       TEXT NOT NULL,
    price_model    TEXT NOT NULL,
    details        TEXT NOT NULL,
    words_name     TEXT NOT NULL,
    words_summary  TEXT NOT NULL,
    words_rest     TEXT NOT NULL,
    listed         INTEGER NOT NULL CHECK (listed IN (0, 1)),
    featured_at    INTEGER,
    installs       INTEGER NOT NULL,                                -- that are there now
    trend          INTEGER NOT NULL,                                -- installs of the last 14 days
    rating_count   INTEGER NOT NULL,
    rating_sum     INTEGER NOT NULL,
    rank           INTEGER NOT NULL,                                -- Bayesian mean of the ratings, in thousandths
    published_at   INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX app_listings_app_id_key ON app_listings (app_id);
CREATE UNIQUE INDEX app_listings_slug_key ON app_listings (slug);
CREATE INDEX app_listings_installs ON app_listings (installs, number) WHERE listed;
CREATE INDEX app_listings_trend ON app_listings (trend, number) WHERE listed;
CREATE INDEX app_listings_rank ON app_listings (rank, number) WHERE listed;
CREATE INDEX app_listings_published_at ON app_listings (published_at, number) WHERE listed;
CREATE INDEX app_listings_featured_at ON app_listings (featured_at, number) WHERE featured_at IS NOT NULL;

CREATE VIRTUAL TABLE app_search USING fts5 (
    words_name, words_summary, words_rest, content = 'app_listings', content_rowid = 'number', prefix = '1 2 3'
);
INSERT INTO app_search (app_search, rank) VALUES ('rank', 'bm25(10.0, 4.0, 1.0)');
CREATE TRIGGER app_listings_inserted AFTER INSERT ON app_listings BEGIN
    INSERT INTO app_search (rowid, words_name, words_summary, words_rest)
    VALUES (new.number, new.words_name, new.words_summary, new.words_rest);
END;
CREATE TRIGGER app_listings_updated AFTER UPDATE OF words_name, words_summary, words_rest ON app_listings BEGIN
    INSERT INTO app_search (app_search, rowid, words_name, words_summary, words_rest)
    VALUES ('delete', old.number, old.words_name, old.words_summary, old.words_rest);
    INSERT INTO app_search (rowid, words_name, words_summary, words_rest)
    VALUES (new.number, new.words_name, new.words_summary, new.words_rest);
END;
CREATE TRIGGER app_listings_deleted AFTER DELETE ON app_listings BEGIN
    INSERT INTO app_search (app_search, rowid, words_name, words_summary, words_rest)
    VALUES ('delete', old.number, old.words_name, old.words_summary, old.words_rest);
END;

-- Collections that operators put together.
CREATE TABLE app_collections (
    slug       TEXT PRIMARY KEY,
    title      TEXT NOT NULL,
    summary    TEXT NOT NULL,
    position   INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE TABLE app_collection_entries (
    collection TEXT NOT NULL REFERENCES app_collections (slug),
    app_id     TEXT NOT NULL REFERENCES apps (id),
    position   INTEGER NOT NULL,
    PRIMARY KEY (collection, app_id)
) STRICT, WITHOUT ROWID;

-- An app in an account: what it may do there. One at a time.
CREATE TABLE installations (
    id             TEXT PRIMARY KEY,
    app_id         TEXT NOT NULL REFERENCES apps (id),
    account_id     TEXT NOT NULL REFERENCES accounts (id),
    scopes         TEXT NOT NULL,
    app_version    TEXT NOT NULL,                                   -- the number of the one whose permissions were granted
    installed_by   TEXT NOT NULL,                                   -- user_… or key_…
    version        INTEGER NOT NULL,
    installed_at   INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    uninstalled_at INTEGER
) STRICT;
CREATE UNIQUE INDEX installations_app_id_account_id_key ON installations (app_id, account_id) WHERE uninstalled_at IS NULL;
CREATE INDEX installations_account_id ON installations (account_id, id);
-- What ends with an installation.
CREATE TABLE installation_objects (
    installation_id TEXT NOT NULL REFERENCES installations (id),
    kind            TEXT NOT NULL CHECK (kind IN ('key', 'webhook')),
    object_id       TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (installation_id, kind, object_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX installation_objects_object_id_key ON installation_objects (object_id);

CREATE TABLE app_reviews (
    id         TEXT PRIMARY KEY,
    app_id     TEXT NOT NULL REFERENCES apps (id),
    account_id TEXT NOT NULL REFERENCES accounts (id),
    author     TEXT NOT NULL,                                       -- user_… or key_…
    rating     INTEGER NOT NULL CHECK (rating BETWEEN 1 AND 5),
    comment    TEXT NOT NULL,
    reply      TEXT,
    replied_at INTEGER,
    reports    INTEGER NOT NULL,
    hidden_at  INTEGER,                                             -- by an operator: it neither shows nor counts
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX app_reviews_app_id_account_id_key ON app_reviews (app_id, account_id);
CREATE INDEX app_reviews_app_id ON app_reviews (app_id, id);
CREATE INDEX app_reviews_reports ON app_reviews (reports, id) WHERE reports > 0;
CREATE TABLE app_review_reports (
    review_id  TEXT NOT NULL REFERENCES app_reviews (id),
    account_id TEXT NOT NULL REFERENCES accounts (id),
    reason     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (review_id, account_id)
) STRICT, WITHOUT ROWID;

-- What happened to an app in a day (days since 1970 UTC).
CREATE TABLE app_days (
    app_id      TEXT NOT NULL REFERENCES apps (id),
    day         INTEGER NOT NULL,
    installs    INTEGER NOT NULL,
    uninstalls  INTEGER NOT NULL,
    reviews     INTEGER NOT NULL,
    rating_sum  INTEGER NOT NULL,
    PRIMARY KEY (app_id, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX app_days_day ON app_days (day, app_id);
