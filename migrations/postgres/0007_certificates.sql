-- What proxies show their clients. The private key is sealed by a data key.
CREATE TABLE certificates (
    name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    chain      TEXT NOT NULL,
    sealed_key BYTEA NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
