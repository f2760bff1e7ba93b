-- Which kinds of changes there are is for the program to say.
ALTER TABLE changes DROP CONSTRAINT changes_kind_check;

-- Routes, upstreams and what else a gateway is told, each as it was written: JSON of the same words as
-- in gateway.toml, without its name.
CREATE TABLE gateway_objects (
    kind       TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    spec       TEXT NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);

-- What an object names: it cannot be deleted while another names it.
CREATE TABLE gateway_references (
    from_kind TEXT COLLATE "C" NOT NULL,
    from_name TEXT COLLATE "C" NOT NULL,
    to_kind   TEXT COLLATE "C" NOT NULL,
    to_name   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (from_kind, from_name, to_kind, to_name)
);
CREATE INDEX gateway_references_to ON gateway_references (to_kind, to_name);

-- Host and path of each route: who else could take its requests is among those at the same place.
CREATE TABLE gateway_places (
    route TEXT COLLATE "C" NOT NULL,
    place TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (route, place)
);
CREATE INDEX gateway_places_place ON gateway_places (place);
