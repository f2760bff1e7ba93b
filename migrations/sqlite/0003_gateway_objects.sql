-- Which kinds of changes there are is for the program to say: a table's check would have to be rebuilt
-- with every new one.
CREATE TABLE changes_without_check (
    revision   INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
INSERT INTO changes_without_check (revision, kind, subject_id, created_at)
SELECT revision, kind, subject_id, created_at FROM changes;
DROP TABLE changes;
ALTER TABLE changes_without_check RENAME TO changes;

-- Routes, upstreams and what else a gateway is told, each as it was written: JSON of the same words as
-- in gateway.toml, without its name.
CREATE TABLE gateway_objects (
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    spec       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- What an object names: it cannot be deleted while another names it.
CREATE TABLE gateway_references (
    from_kind TEXT NOT NULL,
    from_name TEXT NOT NULL,
    to_kind   TEXT NOT NULL,
    to_name   TEXT NOT NULL,
    PRIMARY KEY (from_kind, from_name, to_kind, to_name)
) STRICT, WITHOUT ROWID;
CREATE INDEX gateway_references_to ON gateway_references (to_kind, to_name);

-- Host and path of each route: who else could take its requests is among those at the same place.
CREATE TABLE gateway_places (
    route TEXT NOT NULL,
    place TEXT NOT NULL,
    PRIMARY KEY (route, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX gateway_places_place ON gateway_places (place);
