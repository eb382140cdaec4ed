-- Reads a page of the PINs, from the cursor ARGV[1] on. Returns the store's clock, the wall clock, the next cursor, and
-- the PINs as JSON.

local page = call('HSCAN', keys.pins, ARGV[1], 'COUNT', '500')
local found = {}
for i = 2, #page[2], 2 do
    found[#found + 1] = page[2][i]
end
return {text(now), text(wall), page[1], found}
