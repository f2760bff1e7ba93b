-- What a proxy holds of the gateway's objects and does not act by: JSON; empty is nothing.
ALTER TABLE proxies ADD COLUMN refused TEXT NOT NULL DEFAULT '';

-- Policies of an account's own, in order: a JSON list of names. That they are named stands in
-- gateway_references.
ALTER TABLE accounts ADD COLUMN policies TEXT NOT NULL DEFAULT '[]';

-- How many objects of a kind there are, so that a bound costs no counting.
CREATE TABLE gateway_counts (
    kind    TEXT NOT NULL PRIMARY KEY,
    objects INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO gateway_counts (kind, objects)
SELECT kind, count(*) FROM gateway_objects GROUP BY kind;

-- The sets of places in which the paths of a host's routes have their parameters, `*` for one and `-` for
-- another segment before the last, and by how many routes: a look-up's time grows with the sets.
CREATE TABLE gateway_arrangements (
    host        TEXT NOT NULL,
    arrangement TEXT NOT NULL,
    routes      INTEGER NOT NULL,
    PRIMARY KEY (host, arrangement)
) STRICT, WITHOUT ROWID;
INSERT INTO gateway_arrangements (host, arrangement, routes)
WITH RECURSIVE step (route, host, rest, arrangement) AS (
    SELECT route, substr(place, 1, instr(place, '/') - 1), substr(place, instr(place, '/') + 1) || '/', ''
    FROM gateway_places
    WHERE place LIKE '%/{}%'
    UNION ALL
    SELECT route, host, substr(rest, instr(rest, '/') + 1),
           arrangement || CASE substr(rest, 1, instr(rest, '/') - 1) WHEN '{}' THEN '*' ELSE '-' END
    FROM step
    WHERE rest <> ''
)
SELECT host, rtrim(arrangement, '-'), count(*) FROM step WHERE rest = '' GROUP BY 1, 2;
