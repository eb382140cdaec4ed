-- Version 1. Times ending in _at are milliseconds since 1970 by the wall clock, for people; `begun`, `deadline`, `ended`
-- and `lease` are by the store's own clock, which never goes back.

PRAGMA application_id = 0x50486774;   -- PHgt

CREATE TABLE attempts (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    current INTEGER NOT NULL,           -- 1: it answers for its id
    number_key BLOB,
    line_key BLOB,
    number TEXT,                        -- masked
    full_number TEXT,                   -- only where audit.full_numbers says so
    node TEXT NOT NULL,
    owner BLOB,
    handed_over INTEGER NOT NULL DEFAULT 0, -- 1: the owner has it from another one, and may not know yet
    backend TEXT,
    reference TEXT,
    started_at INTEGER NOT NULL,
    placed_at INTEGER,
    ringing_at INTEGER,
    answered_at INTEGER,
    ended_at INTEGER,
    begun INTEGER,                      -- NULL: it was refused, or given up, and counts for no limit
    deadline INTEGER,
    ended INTEGER,                      -- NULL: it is pending
    reason TEXT,                        -- NULL: pending, or verified
    text TEXT,
    rings INTEGER NOT NULL DEFAULT 0,   -- 1: its number is taken
    UNIQUE (id, generation)
) STRICT;

CREATE UNIQUE INDEX current_attempts ON attempts (id) WHERE current = 1;
CREATE UNIQUE INDEX ringing_numbers ON attempts (number_key) WHERE rings = 1;
CREATE INDEX handed_over_attempts ON attempts (owner) WHERE handed_over = 1;
CREATE INDEX pending_attempts ON attempts (deadline) WHERE ended IS NULL;
CREATE INDEX ended_attempts ON attempts (ended);
CREATE INDEX begun_by_number ON attempts (number_key, begun);
CREATE INDEX begun_by_line ON attempts (line_key);
CREATE INDEX begun_attempts ON attempts (begun);
CREATE INDEX started_attempts ON attempts (started_at);

CREATE TABLE steps (
    sequence INTEGER NOT NULL,          -- of the attempt
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    backend TEXT,
    text TEXT
) STRICT;

CREATE INDEX steps_of_attempts ON steps (sequence, at);

CREATE TABLE owners (owner BLOB PRIMARY KEY, lease INTEGER NOT NULL) STRICT;

CREATE TABLE blocks (
    number_key BLOB PRIMARY KEY,
    number TEXT NOT NULL,               -- masked
    reason TEXT NOT NULL,
    since_at INTEGER NOT NULL,
    until_at INTEGER
) STRICT;

CREATE TABLE clock (only INTEGER PRIMARY KEY CHECK (only = 1), now INTEGER NOT NULL) STRICT;
INSERT INTO clock VALUES (1, 0);
