-- The OAuth client of an app: people let it do no more, in their account, than the app was installed for.
CREATE TABLE app_clients (
    app_id     TEXT PRIMARY KEY REFERENCES apps (id),
    client_id  TEXT NOT NULL REFERENCES oauth_clients (id),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX app_clients_client_id_key ON app_clients (client_id);
