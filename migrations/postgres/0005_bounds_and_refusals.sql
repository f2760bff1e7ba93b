-- What a proxy holds of the gateway's objects and does not act by: JSON; empty is nothing.
ALTER TABLE proxies ADD COLUMN refused TEXT NOT NULL DEFAULT '';

-- Policies of an account's own, in order: a JSON list of names. That they are named stands in
-- gateway_references.
ALTER TABLE accounts ADD COLUMN policies TEXT NOT NULL DEFAULT '[]';

-- How many objects of a kind there are, so that a bound costs no counting.
CREATE TABLE gateway_counts (
    kind    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    objects BIGINT NOT NULL
);
INSERT INTO gateway_counts (kind, objects)
SELECT kind, count(*) FROM gateway_objects GROUP BY kind;

-- The sets of places in which the paths of a host's routes have their parameters, `*` for one and `-` for
-- another segment before the last, and by how many routes: a look-up's time grows with the sets.
CREATE TABLE gateway_arrangements (
    host        TEXT COLLATE "C" NOT NULL,
    arrangement TEXT COLLATE "C" NOT NULL,
    routes      BIGINT NOT NULL,
    PRIMARY KEY (host, arrangement)
);
INSERT INTO gateway_arrangements (host, arrangement, routes)
SELECT host, arrangement, count(*)
FROM (
    SELECT split_part(place, '/', 1) AS host,
           rtrim(string_agg(CASE segment WHEN '{}' THEN '*' ELSE '-' END, '' ORDER BY n), '-') AS arrangement
    FROM gateway_places, unnest(string_to_array(substr(place, strpos(place, '/') + 1), '/')) WITH ORDINALITY AS s (segment, n)
    WHERE place LIKE '%/{}%'
    GROUP BY route, place
) arranged
GROUP BY host, arrangement;
