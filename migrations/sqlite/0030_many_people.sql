-- People are found by how words of their address or name begin. Kept by triggers; `user_id` is not searched.
CREATE VIRTUAL TABLE user_search USING fts5 (user_id UNINDEXED, email, name, prefix = '1 2 3');
INSERT INTO user_search (user_id, email, name) SELECT id, email, name FROM users;
CREATE TRIGGER users_inserted AFTER INSERT ON users BEGIN
    INSERT INTO user_search (user_id, email, name) VALUES (new.id, new.email, new.name);
END;
-- The row is found by its own address: a row's number in `users` may be another after the file was made smaller.
CREATE TRIGGER users_updated AFTER UPDATE OF email, name ON users BEGIN
    DELETE FROM user_search WHERE rowid IN (
        SELECT rowid FROM user_search
        WHERE user_search MATCH 'email : "' || replace(old.email, '"', '""') || '"' AND user_id = old.id
    );
    INSERT INTO user_search (user_id, email, name) VALUES (new.id, new.email, new.name);
END;
CREATE TRIGGER users_deleted AFTER DELETE ON users BEGIN
    DELETE FROM user_search WHERE rowid IN (
        SELECT rowid FROM user_search
        WHERE user_search MATCH 'email : "' || replace(old.email, '"', '""') || '"' AND user_id = old.id
    );
END;

-- Counting goes by these alone.
CREATE INDEX users_counted ON users (created_at, suspended_at) WHERE erased_at IS NULL;
CREATE INDEX accounts_counted ON accounts (created_at, suspended_at);
CREATE INDEX api_keys_counted ON api_keys (created_at) WHERE revoked_at IS NULL;
CREATE INDEX app_listings_category ON app_listings (category) WHERE listed;
