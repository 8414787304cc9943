-- What is left of a tenant: a certificate of what was erased. What it is signed with: keys of which only the sealed half is
-- kept. How far an audit log's beginning was removed when its time was over.

ALTER TABLE tenants ADD COLUMN certificate jsonb;

CREATE TABLE signing_keys (
    id text PRIMARY KEY,
    sealed bytea NOT NULL,
    public_key text NOT NULL,
    retired_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON signing_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();

ALTER TABLE audit_heads ADD COLUMN pruned_seq bigint NOT NULL DEFAULT 0;
ALTER TABLE audit_heads ADD COLUMN pruned_hash bytea NOT NULL DEFAULT '';

GRANT SELECT, INSERT, UPDATE ON signing_keys TO tollgate_platform;
GRANT DELETE ON published_bundles, audit_heads TO tollgate_platform;
