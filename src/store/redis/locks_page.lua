-- Reads a page of the numbers that may be locked, by the time of their last denial: a lock begins at the last denial of
-- its number. ARGV: the time to begin with (empty at first), how many numbers of that time to skip, and the size of the
-- page. Returns the store's clock, the wall clock, the time of the last number, each number and its denials as JSON, and how
-- many were read.

local from = ARGV[1] ~= '' and ARGV[1] or text(now - MAX_LOCK)
local page = call('ZRANGEBYSCORE', keys.denied, from, '+inf', 'WITHSCORES', 'LIMIT', ARGV[2], ARGV[3])
local found = {}
for i = 1, #page, 2 do
    local denials = get(keys.denials(page[i]))
    if denials then
        found[#found + 1] = page[i]
        found[#found + 1] = denials
    end
end
return {text(now), text(wall), page[#page] or from, found, #page / 2}
