-- A key that requires signatures has a signing secret beside each secret, sealed, which overlaps and ends with it.
ALTER TABLE api_keys ADD COLUMN require_signature INTEGER NOT NULL DEFAULT 0 CHECK (require_signature IN (0, 1));
ALTER TABLE key_secrets ADD COLUMN signing_secret BLOB;
