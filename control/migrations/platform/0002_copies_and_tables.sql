-- Which schema each tenant's database has, events that a tenant's log still lacks, and the tables of what
-- people sign in with.

ALTER TABLE placements ADD COLUMN schema_version integer NOT NULL DEFAULT 1;

-- What the platform did to a tenant, until it stands in the tenant's own log too.
CREATE TABLE audit_copies (
    event_id text PRIMARY KEY REFERENCES audit_events,
    tenant_id text NOT NULL
);
CREATE INDEX audit_copies_tenant ON audit_copies (tenant_id, event_id);

CREATE FUNCTION to_be_copied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_copies (event_id, tenant_id) VALUES (NEW.id, NEW.tenant_id);
    RETURN NULL;
END $$;
CREATE TRIGGER to_be_copied AFTER INSERT ON audit_events FOR EACH ROW
    WHEN (NEW.tenant_id IS NOT NULL AND NEW.outcome = 'ok') EXECUTE FUNCTION to_be_copied();

CREATE INDEX audit_events_actor ON audit_events (actor_id, id);
CREATE INDEX audit_events_resource ON audit_events (resource_id, id);
CREATE INDEX audit_events_resource_type ON audit_events (resource_type, id);
CREATE INDEX audit_events_outcome ON audit_events (outcome, id);
CREATE INDEX audit_events_at ON audit_events (at, id);
CREATE INDEX placements_cluster ON placements (cluster_id);
CREATE INDEX operations_state ON operations (state, id);

CREATE TABLE platform_users (
    id text PRIMARY KEY,
    issuer text NOT NULL,
    subject text NOT NULL,
    display_name text NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (issuer, subject)
);

CREATE TABLE platform_role_bindings (
    id text PRIMARY KEY,
    user_id text NOT NULL REFERENCES platform_users,
    role text NOT NULL,
    expires_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE identity_providers (
    id text PRIMARY KEY,
    issuer text NOT NULL UNIQUE,
    settings jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE organisations (
    issuer text NOT NULL,
    organisation text NOT NULL,
    tenant_id text NOT NULL REFERENCES tenants,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, organisation)
);

CREATE TABLE revocations (
    id text PRIMARY KEY,
    tenant_id text REFERENCES tenants,
    kind text NOT NULL,
    target text NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sidecars (
    id text PRIMARY KEY,
    name text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE audit_heads (
    tenant_id text PRIMARY KEY,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

DO $$
DECLARE guarded text;
BEGIN
    FOREACH guarded IN ARRAY ARRAY['platform_users', 'platform_role_bindings', 'identity_providers', 'organisations',
        'revocations', 'sidecars'] LOOP
        EXECUTE format('CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON %I
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited()', guarded);
    END LOOP;
END $$;

GRANT SELECT, INSERT, DELETE ON audit_copies TO tollgate_platform;
GRANT SELECT, INSERT, UPDATE, DELETE ON platform_users, platform_role_bindings, identity_providers, organisations,
    revocations, sidecars TO tollgate_platform;
GRANT SELECT, INSERT, UPDATE ON audit_heads TO tollgate_platform;
