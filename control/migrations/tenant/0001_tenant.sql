-- A tenant's own database. Made once, in the template; every tenant's is a copy. All tables belong to
-- tollgate_owner; the tenant's login role has the rights of tollgate_tenant.

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
CREATE INDEX audit_events_action ON audit_events (action, id);

-- Refuses a commit that changed a guarded table without an event of the same transaction.
CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM audit_events WHERE xid = pg_current_xact_id()) THEN
        RAISE EXCEPTION 'a change of % has no audit event', TG_TABLE_NAME USING ERRCODE = 'TG001';
    END IF;
    RETURN NULL;
END $$;

CREATE TABLE tenant_meta (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    tenant_id text NOT NULL,
    placement_generation integer NOT NULL,
    schema_version integer NOT NULL,
    bundle_epoch bigint NOT NULL DEFAULT 1,
    bundle_seq bigint NOT NULL DEFAULT 0
);

CREATE TABLE api_keys (
    id text PRIMARY KEY,
    name text NOT NULL,
    roles text[] NOT NULL,
    scopes text[] NOT NULL DEFAULT '{}',
    hash bytea NOT NULL CONSTRAINT api_keys_hash UNIQUE,
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

CREATE TABLE settings (
    key text PRIMARY KEY,
    value jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
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

CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON tenant_meta
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON settings
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE OF
    name, roles, scopes, hash, previous_hash, previous_expires_at, expires_at, revoked_at, version
    ON api_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();

GRANT SELECT, INSERT, UPDATE ON tenant_meta, api_keys TO tollgate_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON settings TO tollgate_tenant;
GRANT SELECT, INSERT, DELETE ON idempotency_keys TO tollgate_tenant;
GRANT SELECT, INSERT ON audit_events TO tollgate_tenant;
