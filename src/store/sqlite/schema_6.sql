-- Version 6: columns say what they mean. "Number key" is the secret privacy.number_key alone; what is made with it is a hash.

ALTER TABLE attempts RENAME COLUMN current TO is_latest;            -- 1: it answers for its id
ALTER TABLE attempts RENAME COLUMN rings TO holds_number;           -- 1: no other call to its number begins
ALTER TABLE attempts RENAME COLUMN handed_over TO claim_unacked;    -- 1: its owner claimed it, and may not know yet
ALTER TABLE attempts RENAME COLUMN number_key TO number_hash;
ALTER TABLE attempts RENAME COLUMN line_key TO line_hash;
ALTER TABLE blocks RENAME COLUMN number_key TO number_hash;
ALTER TABLE denials RENAME COLUMN number_key TO number_hash;
ALTER TABLE pins RENAME COLUMN number_key TO number_hash;
