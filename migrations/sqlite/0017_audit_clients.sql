-- The application that acted, for an account or for the person whom the entry names.
ALTER TABLE audit_log ADD COLUMN client_id TEXT;
