-- Authorization requests that clients have pushed (RFC 9126), by the hash of what names them, until a person has decided.
CREATE TABLE oauth_requests (
    hash       BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    client_id  TEXT COLLATE "C" NOT NULL REFERENCES oauth_clients (id),
    params     JSONB NOT NULL,     -- without what the client proved itself by
    expires_at BIGINT NOT NULL
);
CREATE INDEX oauth_requests_client_id ON oauth_requests (client_id);
CREATE INDEX oauth_requests_expires_at ON oauth_requests (expires_at);
