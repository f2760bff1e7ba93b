-- What happens to requests while the store that a fleet's proxies share their quotas by cannot be reached.
ALTER TABLE plans ADD COLUMN on_quota_store_loss TEXT NOT NULL DEFAULT 'lease_then_deny'
    CHECK (on_quota_store_loss IN ('lease_then_deny', 'lease_then_local_share', 'lease_then_allow'));
