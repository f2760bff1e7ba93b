-- The audit log is only ever added to.
CREATE TRIGGER audit_log_kept BEFORE DELETE ON audit_log BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END;
CREATE TRIGGER audit_log_unchanged BEFORE UPDATE ON audit_log BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END;

-- Entries that are in no link yet, and whoever makes the link takes them out. A trigger puts them in, so that those of
-- processes of an older version are linked too.
CREATE TABLE audit_unchained (
    audit_id TEXT PRIMARY KEY
) STRICT;
INSERT INTO audit_unchained (audit_id) SELECT id FROM audit_log;
CREATE TRIGGER audit_log_chained AFTER INSERT ON audit_log BEGIN INSERT INTO audit_unchained (audit_id) VALUES (NEW.id); END;

-- Each entry's place in the chain, and SHA-256 over the entry and the link before.
CREATE TABLE audit_chain (
    number   INTEGER PRIMARY KEY,
    audit_id TEXT NOT NULL,
    link     BLOB NOT NULL CHECK (length(link) = 32)
) STRICT;
CREATE UNIQUE INDEX audit_chain_audit_id_key ON audit_chain (audit_id);
