-- How a client without a secret proves that it is itself, and what a grant is good for: a path, or everything.
ALTER TABLE oauth_clients ADD COLUMN jwks JSONB;     -- its public keys (RFC 7517)
ALTER TABLE oauth_grants ADD COLUMN resource TEXT;   -- a path below the issuer (RFC 8707)

-- Proofs that are good once, by their hash, until they would not be good any more.
CREATE TABLE oauth_proofs (
    hash       BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    expires_at BIGINT NOT NULL
);
CREATE INDEX oauth_proofs_expires_at ON oauth_proofs (expires_at);
