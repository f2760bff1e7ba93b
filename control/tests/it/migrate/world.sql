-- Something in every table, as SQLite has it: values that are hard to carry, and more of some than go at once.
INSERT INTO databases (id, created_at) VALUES ('db_1', 1);
INSERT INTO plans (name, title, position, per_second, overage, keys_max, price_monthly, currency, retired, event_retention_days)
VALUES ('starter', 'Sta"rter', 0, 10, 0, 25, 0, 'USD', 0, 7), ('pro', 'Pro', 1, NULL, 1, NULL, -1, 'EUR', 1, 30);
INSERT INTO accounts (id, name, created_at, suspended_at, policies, brand)
VALUES ('acct_1', 'tab	newline
backslash \ and \N and ''quotes'' and 🦀', 1, NULL, '["browser"]', 'Clearway'),
       ('acct_2', '', 9223372036854775807, 2, '[]', 'Ünïcode');
INSERT INTO subscriptions (id, account_id, plan, started_at, ended_at)
VALUES ('sub_1', 'acct_1', 'starter', 1, 5), ('sub_2', 'acct_1', 'pro', 5, NULL);
INSERT INTO users (id, account_id, email, role, password_hash, created_at)
VALUES ('user_1', 'acct_1', 'a@example.com', 'owner', '$argon2id$', 3);
INSERT INTO memberships (account_id, user_id, role, created_at) VALUES ('acct_1', 'user_1', 'owner', 3), ('acct_2', 'user_1', 'viewer', 4);
INSERT INTO sessions (id, user_id, account_id, hash, previous_hash, address, user_agent, second_factor, created_at, last_used_at, expires_at)
VALUES ('ses_1', 'user_1', 'acct_1', randomblob(32), zeroblob(32), '127.0.0.1', 'Ünïcode', 1, 3, 4, 5),
       ('ses_2', 'user_1', 'acct_2', zeroblob(32), NULL, '::1', '', 0, 3, 4, 5);
INSERT INTO registrations (hash, email, name, password_hash, created_at, expires_at) VALUES (randomblob(32), 'b@example.com', 'Bø', '$argon2id$', 1, 2);
INSERT INTO user_tokens (hash, user_id, purpose, email, created_at, expires_at) VALUES (randomblob(32), 'user_1', 'reset_password', 'a@example.com', 1, 2);
INSERT INTO invitations (id, account_id, email, role, hash, invited_by, created_at, expires_at)
VALUES ('inv_1', 'acct_1', 'b@example.com', 'viewer', randomblob(32), 'user_1', 1, 2);
INSERT INTO totp_factors (user_id, seed, last_step, created_at, confirmed_at) VALUES ('user_1', x'00ff', 7, 1, 2);
INSERT INTO recovery_codes (hash, user_id, created_at) VALUES (randomblob(32), 'user_1', 1);
INSERT INTO passkeys (id, user_id, name, credential_id, public_key, counter, synced, authenticator, transports, created_at, last_used_at)
VALUES ('pky_1', 'user_1', 'Phöne', x'00ff', x'a0', 4294967295, 1, zeroblob(16), '["usb"]', 1, NULL);
INSERT INTO passkey_challenges (hash, purpose, beside, user_id, created_at, expires_at)
VALUES (randomblob(32), 'sign_in', '', NULL, 1, 2), (zeroblob(32), 'session', 'ses_1', 'user_1', 1, 2);
INSERT INTO identities (id, user_id, provider, issuer, subject, email, created_at, last_used_at)
VALUES ('ident_1', 'user_1', 'github', 'https://github.com', '583231', 'a@example.com', 1, 2), ('ident_2', 'user_1', 'id', 'https://id.example.com', 'Ünïcode', NULL, 1, NULL);
INSERT INTO provider_requests (hash, browser, provider, return_to, user_id, session_id, created_at, expires_at)
VALUES (randomblob(32), zeroblob(32), 'github', '/portal/', NULL, NULL, 1, 2), (zeroblob(32), randomblob(32), 'github', '/portal/', 'user_1', 'ses_1', 1, 2);
INSERT INTO counted_attempts (subject, count, began_at, ends_at) VALUES (randomblob(32), 3, 1, 2);
INSERT INTO devices (hash, user_id, created_at, last_used_at) VALUES (randomblob(32), 'user_1', 1, 2);
INSERT INTO mailbox (id, recipient, subject, body, created_at) VALUES ('mail_2', 'a@example.com', 'x', 'lines
of it', 1);
INSERT INTO api_keys (id, account_id, name, environment, scopes, allowed_addresses, concurrent, created_at, require_signature, expiry_due)
VALUES ('key_1', 'acct_1', 'ci', 'live', '["read:apps","a\u00e9\n"]', '[]', 5, 1, 1, 77);
INSERT INTO key_secrets (id, key_id, hash, shown, created_at, signing_secret)
VALUES ('sec_1', 'key_1', randomblob(32), 'clw_live_…', 1, x'00ff0a5c4e'), ('sec_2', 'key_1', zeroblob(32), '', 1, NULL);
INSERT INTO key_uses (key_id, last_used_at, last_used_address) VALUES ('key_1', 1, NULL);
INSERT INTO usage_days (proxy_id, ledger_id, subject_kind, subject_id, day, admitted)
VALUES ('proxy_1', x'', 'account', 'acct_1', 20000, 9223372036854775807);
INSERT INTO audit_log (id, account_id, at, actor_kind, actor_id, action, object_kind, object_id, changes, client_id)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
SELECT printf('audit_%06d', i), 'acct_1', i * 1000003 + i, 'system', '', 'key.issued', 'key', 'key_' || i,
       json_object('name', json_array(hex(randomblob(60)), i), 'nested', json_object('ok', json('true'), 'no', json('null'))),
       iif(i = 1, 'client_1', NULL)
FROM n;
INSERT INTO audit_chain (number, audit_id, link) VALUES (1, 'audit_000001', randomblob(32));
DELETE FROM audit_unchained WHERE audit_id <> 'audit_000002';
INSERT INTO changes (revision, kind, subject_id, created_at) VALUES (41, 'key', 'key_1', 1), (42, 'gateway', 'route/a', 2);
INSERT INTO proxies (id, name, version, revision, lease_ms, created_at, last_seen_at, refused)
VALUES ('proxy_1', 'edge', '0.1.0', 42, NULL, 1, 2, '{"revision":1}');
INSERT INTO idempotency_keys (caller_id, idempotency_key, fingerprint, status, body, created_at)
VALUES ('key_1', 'x', x'0102', 201, '{}', 1);
INSERT INTO gateway_objects (kind, name, spec, version, created_at, updated_at)
VALUES ('route', 'orders', '{"path": "/orders",  "upstream":"o"}', 1, 1, 1);
INSERT INTO gateway_references (from_kind, from_name, to_kind, to_name) VALUES ('route', 'orders', 'upstream', 'o');
INSERT INTO gateway_places (route, place) VALUES ('orders', '*/orders/{}');
INSERT INTO gateway_counts (kind, objects) VALUES ('route', 1);
INSERT INTO gateway_arrangements (host, arrangement, routes) VALUES ('*', '-*', 1);
INSERT INTO data_keys (id, wrapped, created_at) VALUES (1, randomblob(80), 1);
INSERT INTO certificates (name, chain, sealed_key, version, created_at, updated_at)
VALUES ('api', '-----BEGIN CERTIFICATE-----' || char(10), randomblob(3000), 1, 1, 1);
INSERT INTO quotas_reached (subject_kind, subject_id, period, first_day, reached_at) VALUES ('account', 'acct_1', 'month', 20000, 5);
INSERT INTO webhooks (id, account_id, url, description, events, filter, headers, sealed_authorization, active, retry_policy, rate_limit,
                      concurrency, ordering, brand, ed25519, timeouts, oauth, version, created_at, updated_at)
VALUES ('wh_1', 'acct_1', 'https://example.com/', '', '["product.*"]', NULL, '{}', x'01', 1, '{"attempts":5}', NULL, 1, 'object', NULL, 0,
        '{}', NULL, 1, 1, 1),
       ('wh_2', 'acct_1', 'https://example.com/', '', '[]', 'true', '{"a":"b"}', NULL, 0, '{}', 5, 9, 'none', 'X', 1, '{}', '{"url":"x"}', 2, 2, 2);
INSERT INTO webhook_health (webhook_id, failing_since, due_at) VALUES ('wh_1', NULL, 5), ('wh_gone', 1, NULL);
INSERT INTO webhook_secrets (id, webhook_id, sealed_hmac_key, created_at) VALUES ('whs_1', 'wh_1', randomblob(60), 1);
INSERT INTO event_types (name, version, description, schema, created_at, updated_at) VALUES ('order.paid', 3, '', '{"type":"object"}', 1, 1);
UPDATE event_sequence SET last = 3000;
INSERT INTO events (sequence, id, account_id, type, version, object_id, body, fingerprint, created_at)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
SELECT i, printf('evt_%06d', i), 'acct_1', 'product.created', 1, NULL, '{ "id" :  ' || i || ', "é": "' || hex(randomblob(100)) || '"}', NULL, i
FROM n;
INSERT INTO deliveries (id, account_id, webhook_id, sequence, event_type, order_key, state, due_at, claimed, attempts, schedule_start, created_at)
VALUES ('dlv_1', 'acct_1', 'wh_1', 1, 'product.created', 'prod_1', 'pending', 5, 1, 2, 0, 1),
       ('dlv_2', 'acct_1', 'wh_1', 2, 'product.created', 'prod_1', 'waiting', NULL, 0, 0, 0, 1);
INSERT INTO attempts (delivery_id, number, started_at, duration_us, request_headers, response_headers, response_body, response_body_cut)
VALUES ('dlv_1', 1, 1, 250, 'a: b' || char(10), '', '<html>', 1), ('dlv_1', 2, 2, 0, '', '', '', 0);
UPDATE dispatch SET fanned_out = 2999, holder = 'a process that is gone', seen_at = 9;
INSERT INTO stores (id, account_id, name, currency, version, created_at, updated_at) VALUES ('store_1', 'acct_1', 'Shop', 'EUR', 1, 1, 1);
INSERT INTO products (id, store_id, account_id, sku, title, description, price, currency, quantity, active, attributes, version, created_at, updated_at)
VALUES ('prod_1', 'store_1', 'acct_1', NULL, 'Mug', '', 9990000, 'EUR', NULL, 1, '{"b":[1,2.5,-0.125],"a":null}', 1, 1, 1),
       ('prod_2', 'store_1', 'acct_1', 'sku-2', 'Cup', '', 0, 'EUR', -9223372036854775808, 0, '{}', 1, 1, 1);
INSERT INTO mails (id, recipient, subject, body, due_at, attempts, created_at) VALUES ('mail_1', 'a@example.com', 'x', 'y', 1, 0, 1);
INSERT INTO apps (id, account_id, slug, state, live_id, proposal_id, reason, version, published_at, created_at, updated_at)
VALUES ('app_1', 'acct_1', 'mug', 'active', 'ver_1', NULL, NULL, 4, 3, 1, 3), ('app_2', 'acct_1', 'cup', 'draft', NULL, 'ver_2', 'x', 1, NULL, 1, 1);
INSERT INTO app_versions (id, app_id, number, state, content, findings, probe_id, check_due, submitted_at, decided_at, decided_by, reason, created_at, updated_at)
VALUES ('ver_1', 'app_1', '1.0.0', 'active', '{"name":"Mug","features":[]}', '[{"check":"pricing"}]', NULL, NULL, 1, 2, 'user_1', NULL, 1, 3),
       ('ver_2', 'app_2', '1.0.0', 'draft', '{}', '[]', 'wh_9', 5, NULL, NULL, NULL, 'no', 1, 1);
INSERT INTO app_listings (number, app_id, account_id, slug, name, summary, category, price_model, details, words_name, words_summary,
                          words_rest, listed, featured_at, installs, trend, rating_count, rating_sum, rank, published_at, updated_at)
VALUES (9223372036854775807, 'app_1', 'acct_1', 'mug', 'Mug', 'A mug', 'storage', 'free', '{"number":"1.0.0"}', 'mug', 'a mug', 'blue é', 1, 7,
        2, 1, 3, 12, 3900, 3, 3);
INSERT INTO app_collections (slug, title, summary, position, version, created_at, updated_at) VALUES ('shops', 'Shops', '', 1, 1, 1, 1);
INSERT INTO app_collection_entries (collection, app_id, position) VALUES ('shops', 'app_1', 1);
INSERT INTO installations (id, app_id, account_id, scopes, app_version, installed_by, version, installed_at, updated_at, uninstalled_at)
VALUES ('inst_1', 'app_1', 'acct_1', '["read:keys"]', '1.0.0', 'user_1', 1, 1, 1, NULL), ('inst_2', 'app_1', 'acct_1', '[]', '1.0.0', 'key_1', 2, 1, 1, 2);
INSERT INTO installation_objects (installation_id, kind, object_id, created_at) VALUES ('inst_1', 'webhook', 'wh_1', 1);
INSERT INTO app_reviews (id, app_id, account_id, author, rating, comment, reply, replied_at, reports, hidden_at, version, created_at, updated_at)
VALUES ('rev_1', 'app_1', 'acct_1', 'user_1', 5, 'good' || char(10), NULL, NULL, 1, NULL, 1, 1, 1);
INSERT INTO app_review_reports (review_id, account_id, reason, created_at) VALUES ('rev_1', 'acct_1', 'rude', 1);
INSERT INTO app_days (app_id, day, installs, uninstalls, reviews, rating_sum) VALUES ('app_1', 20000, 2, 1, 3, 12);
INSERT INTO oauth_clients (id, account_id, name, homepage, auth_method, grant_types, redirect_uris, scopes, access_lifetime,
                           refresh_lifetime, disabled_at, generation, version, created_at, updated_at, jwks)
VALUES ('client_1', 'acct_1', 'Äpp', NULL, 'none', '["authorization_code"]', '["https://a.example/"]', '["read:apps"]', 60, 60, NULL, 1, 1, 1, 1, '{"keys":[]}');
UPDATE oauth_clients SET dpop_bound = 1, registered_by = 'rgt_1', registration_hash = randomblob(32) WHERE id = 'client_1';
INSERT INTO oauth_registration_tokens (id, account_id, name, hash, scopes, grant_types, uses_max, uses, created_at, expires_at)
VALUES ('rgt_1', 'acct_1', 'Pärtners', randomblob(32), '["read:apps"]', '["authorization_code"]', 5, 1, 1, 2);
INSERT INTO oauth_requests (hash, client_id, params, expires_at) VALUES (randomblob(32), 'client_1', '{"scope":"x"}', 7);
INSERT INTO oauth_proofs (hash, expires_at) VALUES (randomblob(32), 7);
INSERT INTO app_clients (app_id, client_id, created_at) VALUES ('app_1', 'client_1', 5);
INSERT INTO oauth_client_secrets (id, client_id, hash, created_at, expires_at) VALUES ('sec_9', 'client_1', randomblob(32), 1, NULL);
INSERT INTO oauth_signing_keys (id, sealed, jwk, created_at, signs_from) VALUES ('thumb', randomblob(200), '{"kty":"EC"}', 1, 2);
INSERT INTO oauth_grants (id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at, revoked_at, revoked_for, resource, identity)
VALUES ('grant_1', 'client_1', 'acct_1', 'user_1', '[]', 1, 2, 3, NULL, NULL, '/orders', 'openid email'),
       ('grant_2', 'client_1', 'acct_2', NULL, '["a:b"]', 1, 2, 3, 4, 'x', NULL, '');
INSERT INTO oauth_codes (hash, grant_id, client_id, redirect_uri, code_challenge, created_at, expires_at, used_at, nonce, authenticated_at)
VALUES (randomblob(32), 'grant_1', 'client_1', 'https://a.example/', 'x', 1, 2, NULL, 'n', 7);
INSERT INTO oauth_refresh_tokens (hash, grant_id, replaces, created_at, expires_at, used_at, repeats, sealed_answer)
VALUES (zeroblob(32), 'grant_1', NULL, 1, 2, 3, 1, x'00ff'), (randomblob(32), 'grant_1', zeroblob(32), 1, 2, NULL, 0, NULL);
INSERT INTO oauth_revocations (id, until, created_at) VALUES ('grant_2', 9, 1);
INSERT INTO oauth_devices (hash, user_code, client_id, scopes, identity, resource, pause, asked_at, denied, grant_id, authenticated_at, expires_at)
VALUES (randomblob(32), 'WDJBMJHT', 'client_1', '["a:b"]', 'openid', NULL, 5, 6, 0, 'grant_1', 3, 9);
INSERT INTO projects (id, account_id, title, summary, description, url, tags, app_id, version, published_at, created_at, updated_at)
VALUES ('prj_1', 'acct_1', 'Dashboard', '', 'a' || char(10), NULL, '["charts","é"]', 'app_1', 2, 5, 1, 1);
INSERT INTO tickets (id, account_id, subject, state, messages, created_at, updated_at) VALUES ('tkt_1', 'acct_1', 'Late', 'answered', 1, 1, 1);
INSERT INTO ticket_messages (ticket_id, number, author, staff, body, created_at) VALUES ('tkt_1', 1, 'user_1', 1, 'x' || char(10) || 'y', 1);
