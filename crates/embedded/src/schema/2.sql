-- Dead letters until their next run begins; `record` is protobuf. What was dead before this table was made is not in it.
CREATE TABLE dead_letters (
  id BLOB PRIMARY KEY,
  app BLOB NOT NULL,
  message BLOB NOT NULL,
  endpoint BLOB NOT NULL,
  record BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_letters_app ON dead_letters (app, id);
CREATE UNIQUE INDEX dead_letters_delivery ON dead_letters (message, endpoint);

-- The event catalog; `record` is JSON.
CREATE TABLE event_types (
  name TEXT PRIMARY KEY,
  record TEXT NOT NULL,
  revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Moves with every change of the catalog.
INSERT INTO counters VALUES ('catalog', 0);
