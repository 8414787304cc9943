-- What lists are searched and sorted by: texts by their bytes, so that a prefix is a range of the index.

CREATE INDEX tenants_search ON tenants (id COLLATE "C");
CREATE INDEX tenants_display_name ON tenants (lower(display_name COLLATE "C"), id);
CREATE INDEX operations_search ON operations (tenant_id COLLATE "C", id);
CREATE INDEX platform_api_keys_search ON platform_api_keys (id COLLATE "C");
CREATE INDEX platform_api_keys_name ON platform_api_keys (lower(name COLLATE "C"), id);
