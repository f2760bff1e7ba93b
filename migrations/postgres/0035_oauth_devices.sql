-- Devices without a browser that wait for a person elsewhere (RFC 8628), by the hash of the code that the device holds. A row goes
-- when the device has been given its tokens, or when the time is over.
CREATE TABLE oauth_devices (
    hash             BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    user_code        TEXT COLLATE "C" NOT NULL,  -- what the person types
    client_id        TEXT COLLATE "C" NOT NULL REFERENCES oauth_clients (id),
    scopes           JSONB NOT NULL,
    identity         TEXT NOT NULL,
    resource         TEXT,
    pause            BIGINT NOT NULL,            -- seconds between two questions of the device
    asked_at         BIGINT,                     -- the last of them
    denied           BOOLEAN NOT NULL,
    grant_id         TEXT COLLATE "C" REFERENCES oauth_grants (id),
    authenticated_at BIGINT,
    expires_at       BIGINT NOT NULL
);
CREATE UNIQUE INDEX oauth_devices_user_code_key ON oauth_devices (user_code);
CREATE INDEX oauth_devices_client_id ON oauth_devices (client_id);
CREATE INDEX oauth_devices_grant_id ON oauth_devices (grant_id);
CREATE INDEX oauth_devices_expires_at ON oauth_devices (expires_at);
