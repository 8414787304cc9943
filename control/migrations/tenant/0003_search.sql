-- What keys are searched and sorted by: texts by their bytes, so that a prefix is a range of the index.

CREATE INDEX api_keys_search ON api_keys (id COLLATE "C");
CREATE INDEX api_keys_name ON api_keys (lower(name COLLATE "C"), id);
