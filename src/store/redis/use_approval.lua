-- S16: uses up the approval of a verified attempt. ARGV: its id and generation as JSON, and the owner. Returns whether
-- this owner is the one that used it up.

local key, owner = cjson.decode(ARGV[1]), ARGV[2]
local attempt = latest_attempt(key.id)
if not attempt or attempt.generation ~= key.generation or attempt.outcome ~= 'Verified' then
    return 0
end
if not attempt.used_by then
    attempt.used_by = owner
    write_attempt(attempt)
end
return attempt.used_by == owner and 1 or 0
