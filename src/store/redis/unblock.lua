-- Takes a number, ARGV[1], off the block list.

local block = call('HGET', key('blocks'), ARGV[1])
call('HDEL', key('blocks'), ARGV[1])
return block and not has_expired(cjson.decode(block)) and 1 or 0
