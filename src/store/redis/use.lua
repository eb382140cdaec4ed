-- Uses up the approval of a verified attempt. ARGV: which one, and the owner that asks. Answers with whether that is the
-- one that used it up.

local which, owner = cjson.decode(ARGV[1]), ARGV[2]
local kept = current(which.id)
if not kept or kept.generation ~= which.generation or kept.outcome ~= 'Verified' then
    return 0
end
if not kept.used_by then
    kept.used_by = owner
    keep(kept)
end
return kept.used_by == owner and 1 or 0
