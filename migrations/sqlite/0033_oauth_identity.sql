-- Signing in with Clearway: what an application was let know of the person (OpenID Connect), and what its token repeats.
ALTER TABLE oauth_grants ADD COLUMN identity TEXT NOT NULL DEFAULT '';  -- openid, profile, email: blanks between
ALTER TABLE oauth_codes ADD COLUMN nonce TEXT;
ALTER TABLE oauth_codes ADD COLUMN authenticated_at INTEGER;            -- when the person signed in
