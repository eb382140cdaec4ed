-- Returns the time, until when ages are unknown, and the latest attempt of an id, ARGV[1].

local sequence = call('HGET', keys.id(ARGV[1]), 'latest')
return {text(now), text(unknown_until), sequence and get(keys.attempt(sequence))}
