-- What a published policy came into force with: that of the highest version of the bundle is in force. Who wrote a
-- draft, so that another may have to publish it.

ALTER TABLE policy_drafts ADD COLUMN updated_by text NOT NULL DEFAULT '';
ALTER TABLE policy_versions ADD COLUMN bundle_seq bigint CONSTRAINT policy_versions_bundle UNIQUE;
