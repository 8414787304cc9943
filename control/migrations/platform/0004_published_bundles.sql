-- How far the bundle of each tenant is. Its own database knows; this is so that whoever publishes asks the tenants alone
-- that changed.

CREATE TABLE published_bundles (
    tenant_id text PRIMARY KEY REFERENCES tenants,
    epoch bigint NOT NULL,
    seq bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE ON published_bundles TO tollgate_platform;
