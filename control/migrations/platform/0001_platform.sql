-- The platform database: opaque ids, states, hashes and the tenants' ids; no personal data of a
-- tenant's people. All tables belong to tollgate_owner, requests come as tollgate_platform.

CREATE FUNCTION rfc3339(timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT to_char($1 AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') $$;

CREATE TABLE audit_events (
    id text PRIMARY KEY,
    seq bigint UNIQUE,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT now(),
    actor_type text NOT NULL CHECK (actor_type IN ('user', 'api-key', 'system', 'bootstrap')),
    actor_id text NOT NULL,
    on_behalf_of text,
    tenant_id text,
    action text NOT NULL,
    resource_type text NOT NULL,
    resource_id text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('ok', 'denied', 'failed')),
    count bigint NOT NULL DEFAULT 1,
    request_id text,
    trace_id text,
    source_address text,
    changed text[] NOT NULL DEFAULT '{}',
    salt bytea NOT NULL,
    before_digest bytea,
    after_digest bytea
);
CREATE INDEX audit_events_xid ON audit_events (xid);
CREATE INDEX audit_events_tenant ON audit_events (tenant_id, id);
CREATE INDEX audit_events_action ON audit_events (action, id);

-- Refuses a commit that changed a guarded table without an event of the same transaction.
CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM audit_events WHERE xid = pg_current_xact_id()) THEN
        RAISE EXCEPTION 'a change of % has no audit event', TG_TABLE_NAME USING ERRCODE = 'TG001';
    END IF;
    RETURN NULL;
END $$;

CREATE TABLE clusters (
    id text PRIMARY KEY,
    region text NOT NULL,
    jurisdiction text NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'full', 'retired')),
    tenants_max integer NOT NULL DEFAULT 1000 CHECK (tenants_max > 0),
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenants (
    id text CONSTRAINT tenants_id PRIMARY KEY CHECK (id ~ '^[a-z][a-z0-9-]{1,38}[a-z0-9]$'),
    display_name text NOT NULL,
    state text NOT NULL DEFAULT 'provisioning'
        CHECK (state IN ('provisioning', 'failed', 'active', 'suspended', 'offboarding', 'destroyed')),
    jurisdictions text[] NOT NULL CHECK (cardinality(jurisdictions) > 0),
    labels jsonb NOT NULL DEFAULT '{}',
    -- Stands in the tenant's keys, so that a key finds its tenant without an index of all keys.
    key_reference text NOT NULL CONSTRAINT tenants_key_reference UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tenants_oldest ON tenants (created_at, id);
CREATE INDEX tenants_state ON tenants (state, created_at, id);

CREATE TABLE placements (
    tenant_id text PRIMARY KEY REFERENCES tenants,
    cluster_id text NOT NULL REFERENCES clusters,
    generation integer NOT NULL DEFAULT 1,
    database_name text NOT NULL UNIQUE,
    role_name text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A tenant's data stays in the jurisdictions that it names.
CREATE FUNCTION placed_within() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM tenants t, clusters c WHERE t.id = NEW.tenant_id
                   AND c.id = NEW.cluster_id AND c.jurisdiction = ANY (t.jurisdictions)) THEN
        RAISE EXCEPTION 'cluster % is outside the jurisdictions of %', NEW.cluster_id, NEW.tenant_id
            USING ERRCODE = 'TG002';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER placed_within BEFORE INSERT OR UPDATE ON placements
    FOR EACH ROW EXECUTE FUNCTION placed_within();

CREATE TABLE operations (
    id text PRIMARY KEY,
    kind text NOT NULL,
    tenant_id text REFERENCES tenants,
    state text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')),
    result jsonb,
    error jsonb,
    actor jsonb NOT NULL,
    request_id text,
    -- When the next try is due.
    due_at timestamptz NOT NULL DEFAULT now(),
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX operations_due ON operations (due_at) WHERE state IN ('pending', 'running');
CREATE INDEX operations_tenant ON operations (tenant_id, id);

CREATE TABLE operation_steps (
    operation_id text NOT NULL REFERENCES operations,
    position integer NOT NULL,
    name text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'succeeded', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    started_at timestamptz,
    finished_at timestamptz,
    error text,
    PRIMARY KEY (operation_id, position)
);

CREATE TABLE job_leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    fence bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE settings (
    key text PRIMARY KEY,
    value jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE platform_api_keys (
    id text PRIMARY KEY,
    name text NOT NULL,
    roles text[] NOT NULL,
    scopes text[] NOT NULL DEFAULT '{}',
    hash bytea NOT NULL CONSTRAINT platform_api_keys_hash UNIQUE,
    previous_hash bytea UNIQUE,
    previous_expires_at timestamptz,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    last_used_at timestamptz,
    created_by text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE idempotency_keys (
    credential_id text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    body_digest bytea NOT NULL,
    status integer NOT NULL,
    headers jsonb NOT NULL,
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (credential_id, route, key)
);
CREATE INDEX idempotency_keys_oldest ON idempotency_keys (created_at);

CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON clusters
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON tenants
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON placements
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON settings
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE OF
    name, roles, scopes, hash, previous_hash, previous_expires_at, expires_at, revoked_at, version
    ON platform_api_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();

GRANT SELECT, INSERT, UPDATE ON tenants, placements, operations, operation_steps, settings,
    platform_api_keys, job_leases TO tollgate_platform;
GRANT SELECT ON clusters TO tollgate_platform;
GRANT DELETE ON settings, placements TO tollgate_platform;
GRANT SELECT, INSERT, DELETE ON idempotency_keys TO tollgate_platform;
GRANT SELECT, INSERT ON audit_events TO tollgate_platform;
