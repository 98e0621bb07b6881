-- Whether an event type was only seen in traffic: those are counted.
ALTER TABLE event_types ADD COLUMN discovered INTEGER NOT NULL DEFAULT 0;
UPDATE event_types SET discovered = coalesce(record ->> 'discovered', 0);
CREATE INDEX event_types_discovered ON event_types (discovered) WHERE discovered;
