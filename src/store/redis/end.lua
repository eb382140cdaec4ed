-- Ends an attempt. ARGV[1]: the attempt's id and generation, its owner and how it ends, as one JSON object. Returns
-- whether it ended so, and the end of the lock that this caused, if any.

local ending = cjson.decode(ARGV[1])
local has_ended, locked_until_at = end_attempt(find_attempt(ending), ending.owner, ending)
return {has_ended and 1 or 0, locked_until_at and text(locked_until_at)}
