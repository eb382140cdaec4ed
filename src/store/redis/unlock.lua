-- S13: resets the denials of a number, given as its hashes by all keys. Returns whether it was locked.

local was_locked = 0
for _, number in ipairs(cjson.decode(ARGV[1])) do
    -- An attempt has the hash by the key of its time.
    while number do
        if reset_denials(number) then
            was_locked = 1
        end
        number = call('GET', keys.rehashed(number))
    end
end
return was_locked
