-- Gates of endpoints that are not ordinary, without their slots, as core writes them.
CREATE TABLE gates (
  id BLOB PRIMARY KEY,
  gate TEXT NOT NULL
) STRICT, WITHOUT ROWID;
