-- Ends an attempt. ARGV: which one, its owner, and the verdict, in one. Answers with whether it has ended so, and with the
-- end of the lock that this caused, if any.

local verdict = cjson.decode(ARGV[1])
local has_ended, locked_until = finish(find(verdict), verdict.owner, verdict)
return {has_ended and 1 or 0, locked_until and text(locked_until)}
