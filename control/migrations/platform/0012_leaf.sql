-- The same bytes as before, read in a loop: what is hashed of a row is most of what its number costs.

CREATE OR REPLACE FUNCTION audit_leaf(e audit_events) RETURNS bytea LANGUAGE plpgsql STABLE AS $$
DECLARE
    text text := '';
    part text;
BEGIN
    FOREACH part IN ARRAY
        ARRAY[e.id, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), e.actor_type, e.actor_id,
            e.on_behalf_of, e.tenant_id, e.action, e.resource_type, e.resource_id, e.outcome, e.count::text, e.request_id,
            e.trace_id, e.source_address, cardinality(e.changed)::text]
        || e.changed || ARRAY[encode(e.before_digest, 'hex'), encode(e.after_digest, 'hex')]
    LOOP
        text := text || coalesce(octet_length(part) || ':' || part, '-') || ',';
    END LOOP;
    RETURN sha256(convert_to(text, 'UTF8'));
END $$;

-- As before, with two looks instead of four: the last number is the known head as a rule, and rows of transactions that are
-- still open are counted on the way.
CREATE OR REPLACE FUNCTION sequence_audit(known_seq bigint, known_hash bytea, most integer)
    RETURNS TABLE (head_seq bigint, head_hash bytea, waiting bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    one audit_events;
    horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
    numbered integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tollgate audit chain'));
    SELECT a.seq, a.hash INTO head_seq, head_hash FROM audit_events a WHERE a.seq IS NOT NULL ORDER BY a.seq DESC LIMIT 1;
    head_seq := coalesce(head_seq, 0);
    head_hash := coalesce(head_hash, ''::bytea);
    IF known_seq > 0 AND (head_seq <> known_seq OR head_hash <> known_hash) AND NOT EXISTS
        (SELECT FROM audit_events a WHERE a.seq = known_seq AND a.hash = known_hash) THEN
        RAISE EXCEPTION 'the audit chain is broken at or before %', known_seq USING ERRCODE = 'TG003';
    END IF;
    waiting := 0;
    FOR one IN SELECT * FROM audit_events a WHERE a.seq IS NULL ORDER BY a.xid, a.id LIMIT most + 1 LOOP
        IF one.xid >= horizon OR numbered = most THEN
            waiting := waiting + 1;
            CONTINUE;
        END IF;
        numbered := numbered + 1;
        head_seq := head_seq + 1;
        head_hash := sha256(head_hash || int8send(head_seq) || audit_leaf(one));
        UPDATE audit_events a SET seq = head_seq, hash = head_hash WHERE a.id = one.id;
    END LOOP;
    RETURN NEXT;
END $$;
