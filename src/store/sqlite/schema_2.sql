-- Version 2: counters of calls, so that a limit is checked without reading the calls. A bucket is one second of the
-- store's clock. Scopes: 1, calls to a number (`key`) by when they began; 2, all calls by when they began; 3, pending calls
-- by their deadline. Each process fills the table from the attempts before its first call.

CREATE TABLE counters (
    scope INTEGER NOT NULL,
    key BLOB NOT NULL,                  -- empty where a scope has only one counter
    bucket INTEGER NOT NULL,            -- seconds since 1970
    count INTEGER NOT NULL,
    latest INTEGER NOT NULL,            -- the latest time that was counted in the bucket, in milliseconds since 1970
    PRIMARY KEY (scope, key, bucket)
) STRICT, WITHOUT ROWID;

CREATE INDEX counters_by_bucket ON counters (scope, bucket);
