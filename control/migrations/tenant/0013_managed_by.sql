-- Who keeps a limit, such as the folder it was applied from: nobody else's is removed from there.

ALTER TABLE limits ADD COLUMN managed_by text;
