-- Ends an attempt. ARGV: which one, its owner, and the verdict, in one.

local verdict = cjson.decode(ARGV[1])
return finish(find(verdict), verdict.owner, verdict) and 1 or 0
