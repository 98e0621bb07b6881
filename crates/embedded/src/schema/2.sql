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

-- Every attempt of an application, in order.
CREATE INDEX attempts_app ON attempts (app, id);

-- The event catalog; `record` is JSON.
CREATE TABLE event_types (
  name TEXT PRIMARY KEY,
  record TEXT NOT NULL,
  revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Moves with every change of the catalog.
INSERT INTO counters VALUES ('catalog', 0);

-- Tasks; `record` is JSON, `lease_until` is missing once they are finished.
CREATE TABLE tasks (
  id BLOB PRIMARY KEY,
  record TEXT NOT NULL,
  lease_until INTEGER,
  written_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_lease ON tasks (lease_until) WHERE lease_until IS NOT NULL;

-- Tokens that are good no longer, until they expire.
CREATE TABLE revoked (token TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- How many deliveries to an endpoint stand how, by the hour (since 1970) of their messages' acceptance.
CREATE TABLE standings (
  app BLOB NOT NULL,
  endpoint BLOB NOT NULL,
  hour INTEGER NOT NULL,
  standing TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (app, endpoint, hour, standing)
) STRICT, WITHOUT ROWID;
CREATE INDEX standings_hour ON standings (hour);

-- 1: a message's data was made forgotten, and goes from the body once no delivery of it is on its way. 2: it is gone.
ALTER TABLE messages ADD COLUMN expunged INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_expunged ON messages (id) WHERE expunged = 1;

-- Answers to requests that may be repeated; `answer` is missing while the first of them is at work.
CREATE TABLE answers (key BLOB PRIMARY KEY, answer BLOB, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX answers_until ON answers (until);
