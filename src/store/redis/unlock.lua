-- Resets the denials of a number, given as its hashes by all keys. Answers with whether it was locked.

local was_locked = 0
for _, number in ipairs(cjson.decode(ARGV[1])) do
    if reset_denials(number) then
        was_locked = 1
    end
end
return was_locked
