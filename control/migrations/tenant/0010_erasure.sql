-- Erasing a person: what was digested about it in the audit log cannot be guessed back without the salts. No hash of the
-- chain is over them.

CREATE FUNCTION forget_salts(user_id text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH forgotten AS (
        UPDATE audit_events SET salt = '' WHERE resource_id = user_id AND salt <> '' RETURNING 1
    ) SELECT count(*) FROM forgotten
$$;
REVOKE EXECUTE ON FUNCTION forget_salts(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_salts(text) TO tollgate_tenant;
