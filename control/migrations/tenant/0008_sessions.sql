-- Sessions of browsers: for which organisation, with which roles of the token, how it was signed in, when it was used last.
-- Using one is no change of it.

ALTER TABLE sessions ADD COLUMN organisation text NOT NULL DEFAULT '*';
ALTER TABLE sessions ADD COLUMN roles text[] NOT NULL DEFAULT '{}';
ALTER TABLE sessions ADD COLUMN acr text;
ALTER TABLE sessions ADD COLUMN authenticated_at timestamptz;
ALTER TABLE sessions ADD COLUMN provider_session text;
ALTER TABLE sessions ADD COLUMN last_used_at timestamptz NOT NULL DEFAULT now();

DROP TRIGGER audited ON sessions;
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE OF
    user_id, hash, expires_at, revoked_at, organisation, roles, acr, authenticated_at, provider_session ON sessions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audited();
