-- Whether an event type was only seen in traffic: those are counted.
ALTER TABLE event_types ADD COLUMN discovered INTEGER NOT NULL DEFAULT 0;
UPDATE event_types SET discovered = coalesce(record ->> 'discovered', 0);
CREATE INDEX event_types_discovered ON event_types (discovered) WHERE discovered;

-- What happened in an application, by the minute counted from 1970; `code` as in core's `Counted`.
CREATE TABLE counts (
  app BLOB NOT NULL,
  minute INTEGER NOT NULL,
  code INTEGER NOT NULL,
  times INTEGER NOT NULL,
  PRIMARY KEY (app, minute, code)
) STRICT, WITHOUT ROWID;
CREATE INDEX counts_minute ON counts (minute);

-- Read by nobody: a state's outcome says as much.
ALTER TABLE states DROP COLUMN ended;
ALTER TABLE states DROP COLUMN dead;

-- Of a delivery that was set aside: what puts it back.
ALTER TABLE rejected ADD COLUMN message BLOB;
ALTER TABLE rejected ADD COLUMN endpoint BLOB;
ALTER TABLE rejected ADD COLUMN progress BLOB;

-- Messages whose data is to be forgotten then.
CREATE TABLE data_kept (
  message BLOB PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX data_kept_until ON data_kept (until);
