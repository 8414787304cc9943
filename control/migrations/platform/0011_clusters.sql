-- Clusters beside the platform's own: how they are reached, sealed, for it may hold passwords.

ALTER TABLE clusters ADD COLUMN address bytea;
GRANT INSERT, UPDATE ON clusters TO tollgate_platform;
