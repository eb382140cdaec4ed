-- S11: removes the blocks of a number, ARGV[1]. Returns whether there was one that had not expired, or could not be read.

local had_block = 0
for _, field in ipairs({ARGV[1], ARGV[1] .. ':number'}) do
    local block, is_unreadable = block_of(field)
    if is_unreadable or block and not has_expired(block) then
        had_block = 1
    end
    call('HDEL', keys.blocks, field)
end
return had_block
