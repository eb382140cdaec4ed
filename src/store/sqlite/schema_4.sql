-- Version 4: PINs, and what approvals by a code need.

ALTER TABLE attempts ADD COLUMN codes TEXT;         -- secret; only of a pending attempt that outlives its process
ALTER TABLE attempts ADD COLUMN judged_by TEXT;     -- who judged an approval

-- A guess is counted before its PIN is compared. Guesses after `forgiven` are failures.
CREATE TABLE pins (
    number_key BLOB PRIMARY KEY,
    key_fingerprint TEXT NOT NULL,      -- of the number key that number_key was hashed with
    number TEXT NOT NULL,               -- masked
    hash TEXT NOT NULL,                 -- Argon2id, a PHC string
    pepper TEXT NOT NULL,               -- the fingerprint of the pepper in the hash: the same in all rows
    set_at INTEGER NOT NULL,
    guesses INTEGER NOT NULL DEFAULT 0, -- never goes back while the number has a PIN
    forgiven INTEGER NOT NULL DEFAULT 0,
    locked_until INTEGER,               -- by the store's clock
    locked_by INTEGER                   -- the guess that caused the lock
) STRICT, WITHOUT ROWID;
