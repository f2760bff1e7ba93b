-- The audit log is only ever added to.
CREATE FUNCTION audit_log_only_added_to() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''the audit log is only added to''; END';
CREATE TRIGGER audit_log_kept BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_log_only_added_to();
CREATE TRIGGER audit_log_not_emptied BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION audit_log_only_added_to();

-- Entries that are in no link yet, and whoever makes the link takes them out. A trigger puts them in, so that those of
-- processes of an older version are linked too.
CREATE TABLE audit_unchained (
    audit_id TEXT COLLATE "C" PRIMARY KEY
);
INSERT INTO audit_unchained (audit_id) SELECT id FROM audit_log;
CREATE FUNCTION audit_log_to_be_chained() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO audit_unchained (audit_id) VALUES (NEW.id); RETURN NULL; END';
CREATE TRIGGER audit_log_chained AFTER INSERT ON audit_log FOR EACH ROW
    WHEN (current_setting('clearway.copying', TRUE) IS DISTINCT FROM 'yes') EXECUTE FUNCTION audit_log_to_be_chained();

-- Each entry's place in the chain, and SHA-256 over the entry and the link before.
CREATE TABLE audit_chain (
    number   BIGINT PRIMARY KEY,
    audit_id TEXT COLLATE "C" NOT NULL,
    link     BYTEA NOT NULL CHECK (length(link) = 32)
);
CREATE UNIQUE INDEX audit_chain_audit_id_key ON audit_chain (audit_id);
