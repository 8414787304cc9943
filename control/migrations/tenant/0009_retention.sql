-- Removes the beginning of the audit log up to a number, but nothing that is younger than 90 days, whoever asks. Where the
-- chain goes on from is written down in the platform's database before.

CREATE FUNCTION prune_audit(last_seq bigint) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH removed AS (
        DELETE FROM audit_events WHERE seq <= last_seq AND at < now() - interval '90 days' RETURNING 1
    ) SELECT count(*) FROM removed
$$;
REVOKE EXECUTE ON FUNCTION prune_audit(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_audit(bigint) TO tollgate_tenant;
