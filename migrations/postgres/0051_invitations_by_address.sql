-- Somebody whom a provider sends is let in by an invitation of their address.
CREATE INDEX invitations_email ON invitations (email, created_at);
