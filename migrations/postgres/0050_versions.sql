-- Counts what is changed of a key and of an account, so that two editors do not overwrite each other.
ALTER TABLE api_keys ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE accounts ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
