-- Authorization requests that clients have pushed (RFC 9126), by the hash of what names them, until a person has decided.
CREATE TABLE oauth_requests (
    hash       BLOB PRIMARY KEY CHECK (length(hash) = 32),
    client_id  TEXT NOT NULL REFERENCES oauth_clients (id),
    params     TEXT NOT NULL,      -- JSON, without what the client proved itself by
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX oauth_requests_client_id ON oauth_requests (client_id);
CREATE INDEX oauth_requests_expires_at ON oauth_requests (expires_at);
