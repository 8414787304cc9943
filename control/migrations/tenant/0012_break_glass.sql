-- Who of the platform may see what is the tenant's people's own, why, and until when.

CREATE TABLE break_glass_grants (
    id text PRIMARY KEY,
    holder text NOT NULL,
    reason text NOT NULL,
    needs_approval boolean NOT NULL,
    approved_by text,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON break_glass_grants
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();
GRANT SELECT, INSERT, UPDATE ON break_glass_grants TO tollgate_tenant;
