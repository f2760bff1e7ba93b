-- The OAuth client of an app: people let it do no more, in their account, than the app was installed for.
CREATE TABLE app_clients (
    app_id     TEXT COLLATE "C" PRIMARY KEY REFERENCES apps (id),
    client_id  TEXT COLLATE "C" NOT NULL REFERENCES oauth_clients (id),
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX app_clients_client_id_key ON app_clients (client_id);
