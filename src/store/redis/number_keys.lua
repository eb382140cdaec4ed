-- S14: checks that a process can find every number, and records which keys it writes with. ARGV: `read`, `write` or
-- `write_any`, and the fingerprints of its keys, the current one first. Returns a key in use that the process lacks, if any.

local usage, known = ARGV[1], {}
for i = 2, #ARGV do
    known[i - 1] = {fingerprint = ARGV[i]}
end
local used = number_keys_in_use()
local missing = missing_number_key(used, known)
if missing then
    return missing
end
if usage ~= 'read' then
    record_key_use(used, ARGV[2])
end
if usage == 'write_any' then
    for fingerprint in pairs(used) do
        call('HSET', keys.number_keys, fingerprint, text(now))
    end
end
return false
