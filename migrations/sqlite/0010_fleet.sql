-- Who holds a proxy's stream, of several control processes: the number of its last registration (only its holder
-- may note anything of it), how often it was noted, the control process by name, and what the proxy says of itself
-- (JSON; empty: nothing).
ALTER TABLE proxies ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE proxies ADD COLUMN beats INTEGER NOT NULL DEFAULT 0;
ALTER TABLE proxies ADD COLUMN control TEXT NOT NULL DEFAULT '';
ALTER TABLE proxies ADD COLUMN report TEXT NOT NULL DEFAULT '';
