-- What proxies show their clients. The private key is sealed by a data key.
CREATE TABLE certificates (
    name       TEXT NOT NULL PRIMARY KEY,
    chain      TEXT NOT NULL,
    sealed_key BLOB NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
