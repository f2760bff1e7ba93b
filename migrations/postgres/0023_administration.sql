-- Of a person who is no more: the row stays, without anything that says who it was, for what refers to it.
ALTER TABLE users ADD COLUMN erased_at BIGINT;

-- What somebody did, and where an admin acts as somebody.
CREATE INDEX audit_log_actor_id ON audit_log (actor_id, id);
CREATE INDEX sessions_impersonator_id ON sessions (impersonator_id) WHERE impersonator_id IS NOT NULL;
