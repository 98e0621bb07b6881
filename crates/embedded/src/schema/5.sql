-- Events of a type that an application had routed, by the hour counted from 1970.
CREATE TABLE volumes (
  app BLOB NOT NULL,
  hour INTEGER NOT NULL,
  event_type TEXT NOT NULL,
  times INTEGER NOT NULL,
  PRIMARY KEY (app, hour, event_type)
) STRICT, WITHOUT ROWID;
CREATE INDEX volumes_hour ON volumes (hour);
