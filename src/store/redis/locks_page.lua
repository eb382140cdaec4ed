-- Some of the numbers that may be locked, by the time of their last denial: a lock begins at the last denial of its number.
-- ARGV: the time to begin with, empty at first, how many of that time to skip, and how many at most. Answers with the two
-- times, the time of the last one, and the numbers' denials, as JSON.

local from = ARGV[1] ~= '' and ARGV[1] or text(now - LONGEST_LOCK)
local page = call('ZRANGEBYSCORE', key('denied'), from, '+inf', 'WITHSCORES', 'LIMIT', ARGV[2], ARGV[3])
local found = {}
for i = 1, #page, 2 do
    found[#found + 1] = call('GET', key('f', page[i])) or nil
end
return {text(now), text(wall), page[#page] or from, found, #page / 2}
