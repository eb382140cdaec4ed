-- The time, until when it is in doubt, and the current attempt of an id, ARGV[1].

local sequence = call('HGET', key('i', ARGV[1]), 'current')
return {text(now), text(doubt), sequence and call('GET', key('a', sequence))}
