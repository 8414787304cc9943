-- People of the platform sign in like those of tenants: the same names here lead to the same columns, so that one statement
-- serves both. An organisation without a tenant is the platform's own.

ALTER TABLE organisations ALTER COLUMN tenant_id DROP NOT NULL;

ALTER TABLE platform_users ADD COLUMN email text;
ALTER TABLE platform_users ADD COLUMN last_used_at timestamptz;
ALTER TABLE platform_users ADD COLUMN signed_out_at timestamptz;
-- When a user called last is no change of the user.
DROP TRIGGER audited ON platform_users;
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE OF
    issuer, subject, display_name, email, state, version ON platform_users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();
CREATE INDEX platform_users_name ON platform_users (lower(display_name COLLATE "C"), id);
CREATE INDEX platform_users_email ON platform_users (lower(email COLLATE "C"), id);

ALTER TABLE platform_role_bindings ADD COLUMN subject_type text NOT NULL DEFAULT 'user' CHECK (subject_type = 'user');
ALTER TABLE platform_role_bindings ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX platform_role_bindings_user ON platform_role_bindings (user_id, id);

CREATE TABLE platform_sessions (
    id text PRIMARY KEY,
    user_id text NOT NULL REFERENCES platform_users,
    hash bytea NOT NULL UNIQUE,
    expires_at timestamptz NOT NULL,
    organisation text NOT NULL,
    roles text[] NOT NULL,
    acr text,
    authenticated_at timestamptz,
    provider_session text,
    last_used_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX platform_sessions_user ON platform_sessions (user_id);
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE OF user_id, hash, expires_at, organisation, roles, acr,
    authenticated_at, provider_session ON platform_sessions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();

CREATE VIEW users AS SELECT * FROM platform_users;
CREATE VIEW sessions AS SELECT * FROM platform_sessions;
CREATE VIEW role_bindings AS SELECT id, subject_type, user_id AS subject_id, role, expires_at, version, created_at, updated_at
    FROM platform_role_bindings;
GRANT SELECT, INSERT, UPDATE, DELETE ON users, role_bindings, sessions TO tollgate_platform;

-- The roles that are bound to a user and hold now: whoever has none may do nothing.
CREATE FUNCTION roles_of(user_id text) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(DISTINCT b.role ORDER BY b.role), '{}') FROM role_bindings b
    WHERE b.subject_id = $1 AND (b.expires_at IS NULL OR b.expires_at > now())
$$;

-- The platform has no roles of its own making.
CREATE FUNCTION permissions_of(names text[]) RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT '{}'::text[] $$;

CREATE FUNCTION forget_salts(user_id text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH forgotten AS (
        UPDATE audit_events SET salt = '' WHERE resource_id = user_id AND salt <> '' RETURNING 1
    ) SELECT count(*) FROM forgotten
$$;
REVOKE EXECUTE ON FUNCTION forget_salts(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_salts(text) TO tollgate_platform;
