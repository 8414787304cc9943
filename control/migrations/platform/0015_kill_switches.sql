-- Everything stops while one of these is on: asked for by one person, confirmed by another.

CREATE TABLE kill_switches (
    id text PRIMARY KEY,
    reason text NOT NULL,
    asked_by text NOT NULL,
    confirmed_by text CHECK (confirmed_by <> asked_by),
    -- A question that nobody confirmed by then is over.
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON kill_switches
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();
GRANT SELECT, INSERT, UPDATE ON kill_switches TO tollgate_platform;
