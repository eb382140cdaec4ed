-- Version 6: columns of `attempts` say what they mean.

ALTER TABLE attempts RENAME COLUMN current TO is_latest;            -- 1: it answers for its id
ALTER TABLE attempts RENAME COLUMN rings TO holds_number;           -- 1: no other call to its number begins
ALTER TABLE attempts RENAME COLUMN handed_over TO claim_unacked;    -- 1: its owner claimed it, and may not know yet
