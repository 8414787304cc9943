-- Operations of one kind are listed by their id.

CREATE INDEX operations_kind ON operations (kind, id);
