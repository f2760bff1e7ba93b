-- Devices without a browser that wait for a person elsewhere (RFC 8628), by the hash of the code that the device holds. A row goes
-- when the device has been given its tokens, or when the time is over.
CREATE TABLE oauth_devices (
    hash             BLOB PRIMARY KEY CHECK (length(hash) = 32),
    user_code        TEXT NOT NULL,          -- what the person types
    client_id        TEXT NOT NULL REFERENCES oauth_clients (id),
    scopes           TEXT NOT NULL,          -- JSON
    identity         TEXT NOT NULL,
    resource         TEXT,
    pause            INTEGER NOT NULL,       -- seconds between two questions of the device
    asked_at         INTEGER,                -- the last of them
    denied           INTEGER NOT NULL CHECK (denied IN (0, 1)),
    grant_id         TEXT REFERENCES oauth_grants (id),
    authenticated_at INTEGER,
    expires_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX oauth_devices_user_code_key ON oauth_devices (user_code);
CREATE INDEX oauth_devices_client_id ON oauth_devices (client_id);
CREATE INDEX oauth_devices_grant_id ON oauth_devices (grant_id);
CREATE INDEX oauth_devices_expires_at ON oauth_devices (expires_at);
