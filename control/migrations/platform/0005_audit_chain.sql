-- The chain of the audit log: committed rows are numbered without a gap, and each number has a hash over the one before.
-- No role that serves requests may change a row; this function does nothing else, as the owner of the table.

ALTER TABLE audit_events ADD COLUMN hash bytea;
CREATE INDEX audit_events_waiting ON audit_events (xid, id) WHERE seq IS NULL;

-- A value with its length, so that no two rows have one text; `-` is none.
CREATE FUNCTION audit_part(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT coalesce(octet_length(value) || ':' || value, '-') || ',' $$;

CREATE FUNCTION audit_leaf(e audit_events) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(
        audit_part(e.id) || audit_part(to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        || audit_part(e.actor_type) || audit_part(e.actor_id) || audit_part(e.on_behalf_of) || audit_part(e.tenant_id)
        || audit_part(e.action) || audit_part(e.resource_type) || audit_part(e.resource_id) || audit_part(e.outcome)
        || audit_part(e.count::text) || audit_part(e.request_id) || audit_part(e.trace_id) || audit_part(e.source_address)
        || audit_part(cardinality(e.changed)::text)
        || coalesce((SELECT string_agg(audit_part(name), '' ORDER BY place)
            FROM unnest(e.changed) WITH ORDINALITY AS names (name, place)), '')
        || audit_part(encode(e.before_digest, 'hex')) || audit_part(encode(e.after_digest, 'hex')), 'UTF8'))
$$;

-- Numbers at most so many rows whose transactions are over, behind the head that is known: where the row of that number
-- has another hash, or is not there, nothing is numbered. Answers the new head, and how many rows wait.
CREATE FUNCTION sequence_audit(known_seq bigint, known_hash bytea, most integer)
    RETURNS TABLE (head_seq bigint, head_hash bytea, waiting bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    one audit_events;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tollgate audit chain'));
    IF known_seq > 0 AND NOT EXISTS
        (SELECT FROM audit_events a WHERE a.seq = known_seq AND a.hash = known_hash) THEN
        RAISE EXCEPTION 'the audit chain is broken at or before %', known_seq USING ERRCODE = 'TG003';
    END IF;
    SELECT a.seq, a.hash INTO head_seq, head_hash FROM audit_events a WHERE a.seq IS NOT NULL ORDER BY a.seq DESC LIMIT 1;
    head_seq := coalesce(head_seq, 0);
    head_hash := coalesce(head_hash, ''::bytea);
    FOR one IN SELECT * FROM audit_events a
        WHERE a.seq IS NULL AND a.xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY a.xid, a.id LIMIT most
    LOOP
        head_seq := head_seq + 1;
        head_hash := sha256(head_hash || int8send(head_seq) || audit_leaf(one));
        UPDATE audit_events a SET seq = head_seq, hash = head_hash WHERE a.id = one.id;
    END LOOP;
    SELECT count(*) INTO waiting FROM audit_events a WHERE a.seq IS NULL;
    RETURN NEXT;
END $$;

REVOKE EXECUTE ON FUNCTION sequence_audit(bigint, bytea, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sequence_audit(bigint, bytea, integer) TO tollgate_platform;
