-- Reads a page of the PINs, from the cursor ARGV[1] on. Returns the store's clock, the wall clock, the next cursor, and
-- each number and its PIN as JSON.

local page = call('HSCAN', keys.pins, ARGV[1], 'COUNT', '500')
return {text(now), text(wall), page[1], page[2]}
