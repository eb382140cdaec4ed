-- S17: removes up to 500 attempts that ended more than ARGV[1] ms ago, after skipping as many as ARGV[2] says. Returns 1
-- if there may be more, and how many were skipped now because one of the two clocks says that they are newer. It writes
-- nothing that needs memory: it must work in a server whose memory is full.

local PAGE = 500

local function remove_attempt(sequence, attempt)
    if attempt then
        release_number(attempt)
        local id = keys.id(attempt.id)
        call('HDEL', id, attempt.generation)
        if call('HGET', id, 'latest') == sequence then
            call('HDEL', id, 'latest')
        end
    end
    call('DEL', keys.attempt(sequence), keys.steps(sequence))
    call('ZREM', keys.ended, sequence)
end

local old = call('ZRANGEBYSCORE', keys.ended, '-inf', text(now - ARGV[1]), 'LIMIT', ARGV[2], PAGE)
local skipped = 0
for _, sequence in ipairs(old) do
    local attempt = read_attempt(sequence)
    -- One of two clocks may be ahead for a while. Of one that cannot be read, only the time of the store's clock is known.
    if attempt and attempt.ended_at > wall - ARGV[1] then
        skipped = skipped + 1
    else
        remove_attempt(sequence, attempt)
    end
end

local first = tonumber(call('GET', keys.first_sequence) or 1)
local last = tonumber(call('GET', keys.sequence) or 0)
for _ = 1, 10 * PAGE do
    if first > last or call('EXISTS', keys.attempt(text(first))) == 1 then
        break
    end
    first = first + 1
end
redis.pcall('SET', keys.first_sequence, text(first))

for _, owner in ipairs(call('ZRANGEBYSCORE', keys.owners, '-inf', text(now - LEASE))) do
    if call('ZCARD', keys.owner(owner)) == 0 then
        call('ZREM', keys.owners, owner)
        call('DEL', keys.handover(owner))
    end
end

-- The numbers without a denial for DENIAL_RETENTION.
local forgiven = call('ZRANGEBYSCORE', keys.denied, '-inf', text(now - DENIAL_RETENTION), 'LIMIT', '0', PAGE)
for _, number in ipairs(forgiven) do
    call('DEL', keys.denials(number))
    call('ZREM', keys.denied, number)
end

-- When the oldest of the attempts, blocks and denials that are left was written, as far as that is known.
local oldest = now
if first <= last then
    local attempt = read_attempt(text(first))
    oldest = attempt and (attempt.begun or attempt.ended) or 0
end
local blocks = call('HGETALL', keys.blocks)
for i = 1, #blocks, 2 do
    local block = decode(blocks[i + 1], fits_block)
    if not block then
        oldest = 0
    elseif has_expired(block, tonumber(ARGV[1])) then
        call('HDEL', keys.blocks, blocks[i])
    else
        oldest = math.min(oldest, block.since_at)
    end
end
oldest = math.min(oldest, tonumber(call('ZRANGE', keys.denied, 0, 0, 'WITHSCORES')[2] or oldest))

-- S14: no number is left that was hashed with these keys.
for fingerprint, at in pairs(number_keys_in_use()) do
    if at > 0 and at + KEY_USE_RETENTION < oldest and call('HEXISTS', keys.pin_number_keys, fingerprint) == 0 then
        call('HDEL', keys.number_keys, fingerprint)
    end
end

return {(#old == PAGE or #forgiven == PAGE) and 1 or 0, skipped}
