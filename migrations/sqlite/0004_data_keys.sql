-- What the secrets in other tables are sealed by, each wrapped by the master key, which is not here. The
-- one with the greatest id seals; all of them open.
CREATE TABLE data_keys (
    id         INTEGER PRIMARY KEY,
    wrapped    BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
