-- Links of organisations have an id of their own, for their path; providers are searched by their issuer.

ALTER TABLE organisations ADD COLUMN id text NOT NULL DEFAULT 'org_' || replace(gen_random_uuid()::text, '-', '')
    CONSTRAINT organisations_id UNIQUE;
ALTER TABLE organisations ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX organisations_tenant ON organisations (tenant_id, id);
CREATE INDEX identity_providers_search ON identity_providers (issuer COLLATE "C");
CREATE INDEX organisations_search ON organisations (organisation COLLATE "C");
