-- Which life of the platform's data this is: after a restore the service is closed until somebody begins a new epoch. What
-- was restored by other means shows by the cluster that the epoch was begun in.

CREATE TABLE epochs (
    number bigint PRIMARY KEY,
    system_identifier bigint NOT NULL,
    -- None while it is closed.
    opened_at timestamptz,
    reason text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON epochs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();
GRANT SELECT ON epochs TO tollgate_platform;
