-- The current attempt of an id, ARGV[1], and the time.

local sequence = call('HGET', key('i', ARGV[1]), 'current')
return {text(now), sequence and call('GET', key('a', sequence))}
