-- Times are milliseconds since 1970; ids are 20 bytes; `body`, `progress` and attempts' `record` are protobuf
-- (proto/hookyard/v1), other records JSON.

-- Events on their way to the router, in the order of their ids.
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  body BLOB NOT NULL,
  -- How often handling it failed, and whether somebody may have held it before.
  failures INTEGER NOT NULL DEFAULT 0,
  seen INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Deliveries on their way to their end, and dead ones.
CREATE TABLE deliveries (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  message BLOB NOT NULL,
  endpoint BLOB NOT NULL,
  lane INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'dead')),
  due_at INTEGER NOT NULL,
  dead_reason TEXT,
  progress BLOB NOT NULL,
  failures INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX deliveries_due ON deliveries (lane, due_at, id) WHERE state = 'waiting';
CREATE INDEX deliveries_message ON deliveries (message);

-- What could not be handled, with its bytes.
CREATE TABLE rejected (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT;

-- Messages with their payload: for the deliveries on their way, and as the log keeps them. `body` is missing while only attempts
-- are known, `routed` (20 bytes per endpoint) while it was only accepted.
CREATE TABLE messages (
  id BLOB PRIMARY KEY,
  app BLOB NOT NULL,
  body BLOB,
  routed BLOB,
  wanted INTEGER,
  ended INTEGER NOT NULL DEFAULT 0,
  dead INTEGER NOT NULL DEFAULT 0,
  finished_at INTEGER
) STRICT;
CREATE INDEX messages_app ON messages (app, id);
CREATE INDEX messages_finished ON messages (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE attempts (
  id BLOB PRIMARY KEY,
  app BLOB NOT NULL,
  message BLOB NOT NULL,
  endpoint BLOB NOT NULL,
  record BLOB NOT NULL
) STRICT;
CREATE INDEX attempts_message ON attempts (message, id);
CREATE INDEX attempts_endpoint ON attempts (app, endpoint, id);

-- The state of each delivery; the highest rank stays.
CREATE TABLE states (
  message BLOB NOT NULL,
  endpoint BLOB NOT NULL,
  rank INTEGER NOT NULL,
  ended INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (message, endpoint)
) STRICT, WITHOUT ROWID;

-- Applications; a deleted one stays as a tombstone, without its record.
CREATE TABLE applications (
  id BLOB PRIMARY KEY,
  uid TEXT UNIQUE,
  record TEXT,
  revision INTEGER NOT NULL,
  -- Counts every change of what it owns; only what changed after `floor` can be told endpoint by endpoint.
  version INTEGER NOT NULL,
  floor INTEGER NOT NULL,
  deleted_at INTEGER
) STRICT;

-- Endpoints; `changed` is the application's version then. A deleted one stays as a tombstone.
CREATE TABLE endpoints (
  app BLOB NOT NULL,
  id BLOB NOT NULL,
  uid TEXT,
  record TEXT NOT NULL,
  revision INTEGER NOT NULL,
  changed INTEGER NOT NULL,
  deleted_at INTEGER,
  PRIMARY KEY (app, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX endpoints_uid ON endpoints (app, uid) WHERE uid IS NOT NULL;
CREATE INDEX endpoints_changed ON endpoints (app, changed);
CREATE INDEX endpoints_deleted ON endpoints (deleted_at) WHERE deleted_at IS NOT NULL;

-- What became of an event id.
CREATE TABLE markers (
  app BLOB NOT NULL,
  event TEXT NOT NULL,
  state INTEGER NOT NULL,
  content BLOB NOT NULL,
  message BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (app, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX markers_expiry ON markers (expires_at);

-- Filled and emptied to see whether there is room, after a write failed.
CREATE TABLE room (filling BLOB NOT NULL) STRICT;

-- `names`: moves whenever the uid of any application does.
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES ('names', 0);
