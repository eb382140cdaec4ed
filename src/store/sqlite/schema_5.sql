-- Version 5: limits of lines, days and countries, locks after denials, blocks of exactly one number, approvals that are used
-- up, and alerts. New scopes of `counters`: 4, calls to a line by when they began; 5, pending calls to a line by their
-- deadline; 6, all calls by when they began; 7, calls to a country by when they began. A bucket of scopes 6 and 7 is ten
-- minutes.

ALTER TABLE attempts ADD COLUMN country TEXT;               -- ISO 3166-1 alpha-2, of the number
ALTER TABLE attempts ADD COLUMN call_limit TEXT;            -- the limit by which it was refused
ALTER TABLE attempts ADD COLUMN locked_until_at INTEGER;    -- the end of the lock of its number that its end caused
ALTER TABLE attempts ADD COLUMN used_by BLOB;               -- the owner that used up its approval

-- For a command that lists the use of the daily limits before the service has counted.
INSERT INTO counters
    SELECT 6, x'', begun / 600000, count(*), max(begun) FROM attempts
    WHERE begun > (SELECT now FROM clock) - 86400000 GROUP BY begun / 600000;

CREATE TABLE denials (
    number_key BLOB PRIMARY KEY,
    number TEXT NOT NULL,               -- masked
    recent TEXT NOT NULL,               -- the times of denials that no lock has used up, as a JSON array
    locks INTEGER NOT NULL,             -- since the last approval
    locked_from INTEGER,                -- by the store's clock
    locked_until INTEGER,
    last INTEGER NOT NULL,              -- the last denial that counted, by the store's clock
    last_at INTEGER NOT NULL            -- the same by the wall clock
) STRICT, WITHOUT ROWID;

CREATE INDEX denials_by_last ON denials (last);
CREATE INDEX locks_by_end ON denials (locked_until) WHERE locked_until IS NOT NULL;

ALTER TABLE blocks RENAME TO old_blocks;
CREATE TABLE blocks (
    number_key BLOB NOT NULL,
    whole_line INTEGER NOT NULL,        -- 1: also all extensions of the number
    number TEXT NOT NULL,               -- masked
    reason TEXT NOT NULL,
    since_at INTEGER NOT NULL,
    until_at INTEGER,
    PRIMARY KEY (number_key, whole_line)
) STRICT, WITHOUT ROWID;
INSERT INTO blocks SELECT number_key, 1, number, reason, since_at, until_at FROM old_blocks;
DROP TABLE old_blocks;

CREATE TABLE alerts (
    sequence INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    destination TEXT NOT NULL,          -- its key
    about TEXT NOT NULL,                -- the same for a repetition
    content TEXT NOT NULL,              -- JSON
    urgent INTEGER NOT NULL,            -- 1: it is delivered before others for the same destination
    raised_at INTEGER NOT NULL,         -- by the clock of the node that raised it
    added INTEGER NOT NULL,             -- by the store's clock
    due INTEGER NOT NULL,               -- when it may be claimed: after the next pause, or the end of a claim
    claimed_by BLOB,                    -- the owner that delivers it
    failures INTEGER NOT NULL DEFAULT 0, -- deliveries that failed
    error TEXT,                         -- of the last one that failed
    ended INTEGER,                      -- NULL: it waits
    delivered_at INTEGER                -- NULL: it waits, or was given up
) STRICT;

CREATE INDEX alerts_by_subject ON alerts (destination, about, added);
CREATE INDEX waiting_alerts ON alerts (destination, urgent, due) WHERE ended IS NULL;
CREATE INDEX ended_alerts ON alerts (ended) WHERE ended IS NOT NULL;
