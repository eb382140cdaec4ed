-- S11: removes the blocks of a number, ARGV[1]. Returns whether there was one that had not expired.

local had_block = 0
for _, field in ipairs({ARGV[1], ARGV[1] .. ':number'}) do
    local block = call('HGET', keys.blocks, field)
    if block and not has_expired(cjson.decode(block)) then
        had_block = 1
    end
    call('HDEL', keys.blocks, field)
end
return had_block
