-- What people and roles are listed, searched and expanded by. When a user called last is no change of the user.

ALTER TABLE users ADD COLUMN last_used_at timestamptz;
ALTER TABLE group_members ADD COLUMN version bigint NOT NULL DEFAULT 1;
ALTER TABLE role_bindings ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();

DROP TRIGGER audited ON users;
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE OF
    issuer, subject, display_name, email, state, version ON users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();

CREATE INDEX group_members_user ON group_members (user_id, group_id);
CREATE INDEX role_bindings_subject ON role_bindings (subject_id, id);
CREATE INDEX role_bindings_role ON role_bindings (role, id);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX users_name ON users (lower(display_name COLLATE "C"), id);
CREATE INDEX users_email ON users (lower(email COLLATE "C"), id);
CREATE INDEX users_state ON users (state, id);
CREATE INDEX groups_name ON groups (lower(display_name COLLATE "C"), id);

-- The roles of a user that hold now: bound to it or to a group that it is in; whoever has none is a member.
CREATE FUNCTION roles_of(user_id text) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(DISTINCT b.role ORDER BY b.role), '{member}') FROM role_bindings b
    WHERE b.subject_id = ANY (ARRAY[$1] || ARRAY(SELECT m.group_id FROM group_members m WHERE m.user_id = $1))
        AND (b.expires_at IS NULL OR b.expires_at > now())
$$;

-- The users who have one of these roles now.
CREATE FUNCTION users_with(names text[]) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT coalesce(m.user_id, b.subject_id) FROM role_bindings b
    LEFT JOIN group_members m ON b.subject_type = 'group' AND m.group_id = b.subject_id
    WHERE b.role = ANY ($1) AND (b.expires_at IS NULL OR b.expires_at > now())
$$;

-- The permissions of those of these roles that are the tenant's own.
CREATE FUNCTION permissions_of(names text[]) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(DISTINCT p ORDER BY p), '{}') FROM roles r, unnest(r.permissions) p
    WHERE r.name = ANY ($1)
$$;
