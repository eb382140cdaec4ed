-- Version 3: the fingerprints of the number keys (privacy.number_key) with which numbers were hashed. `none`: without a
-- key, as all numbers before this version.

CREATE TABLE number_keys (
    fingerprint TEXT PRIMARY KEY,
    used_at INTEGER NOT NULL            -- when a number was last hashed with it, about: it is noted once an hour
) STRICT;

INSERT INTO number_keys
    SELECT 'none', max(
        coalesce((SELECT max(started_at) FROM attempts), 0),
        coalesce((SELECT max(since_at) FROM blocks), 0)
    )
    WHERE EXISTS (SELECT 1 FROM attempts WHERE number_key IS NOT NULL) OR EXISTS (SELECT 1 FROM blocks);
