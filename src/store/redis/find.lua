-- The current attempt of an id, ARGV[1], and the time.

local sequence = call('HGET', key('i', ARGV[1]), 'current')
local kept = sequence and call('GET', key('a', sequence))
if kept and cjson.decode(kept).outcome == 'Verified' then
    -- Only a server that may write confirms a success: a master that has lost its replicas, of which one may be the master
    -- now, refuses that (min-replicas-to-write).
    keep_time()
end
return {text(now), kept}
