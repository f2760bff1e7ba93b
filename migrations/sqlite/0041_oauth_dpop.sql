-- Proofs of possession (RFC 9449): the thumbprint of the key (RFC 7638) that has to be proved to change a code, or to refresh the
-- tokens of a grant; and whether an application is given no other tokens than such.
ALTER TABLE oauth_codes ADD COLUMN jkt TEXT;
ALTER TABLE oauth_grants ADD COLUMN jkt TEXT;
ALTER TABLE oauth_clients ADD COLUMN dpop_bound INTEGER NOT NULL DEFAULT 0;
