-- People are found by how words of their address or name begin. The expression stands in `control/src/users/store.rs` again.
CREATE INDEX users_search ON users
    USING gin (to_tsvector('simple', regexp_replace(lower(email || ' ' || name), '[^[:alnum:]]+', ' ', 'g')));

-- Counting goes by these alone.
CREATE INDEX users_counted ON users (created_at, suspended_at) WHERE erased_at IS NULL;
CREATE INDEX accounts_counted ON accounts (created_at, suspended_at);
CREATE INDEX api_keys_counted ON api_keys (created_at) WHERE revoked_at IS NULL;
CREATE INDEX app_listings_category ON app_listings (category) WHERE listed;
