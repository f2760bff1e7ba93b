-- A key that requires signatures has a signing secret beside each secret, sealed, which overlaps and ends with it.
ALTER TABLE api_keys ADD COLUMN require_signature BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE key_secrets ADD COLUMN signing_secret BYTEA;
