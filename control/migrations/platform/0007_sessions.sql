-- The secret of this API as an identity provider's client, sealed; and who was signed out there: a digest of the
-- issuer and its name for the person or the session, one row each.

ALTER TABLE identity_providers ADD COLUMN client_secret bytea;
CREATE UNIQUE INDEX revocations_signed_out ON revocations (kind, target) WHERE kind IN ('subject', 'session');
