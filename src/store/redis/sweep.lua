-- Forgets some of what is older than ARGV[1], behind as many attempts that were left as ARGV[2] says. Answers with 1 where
-- there may be more, and how many were left. It writes nothing that needs memory: it must work in a server whose memory is
-- full.

local SOME = 500

local function forget(sequence, kept)
    if kept then
        release(kept)
        local id = key('i', kept.id)
        call('HDEL', id, kept.generation)
        if call('HGET', id, 'current') == sequence then
            call('HDEL', id, 'current')
        end
    end
    call('DEL', key('a', sequence), key('s', sequence))
    call('ZREM', key('ended'), sequence)
end

local old = call('ZRANGEBYSCORE', key('ended'), '-inf', text(now - ARGV[1]), 'LIMIT', ARGV[2], SOME)
local left = 0
for _, sequence in ipairs(old) do
    local kept = fetch(sequence)
    -- Of two clocks one may be ahead for a while.
    if kept and kept.ended > wall - ARGV[1] then
        left = left + 1
    else
        forget(sequence, kept)
    end
end

local first = tonumber(call('GET', key('first')) or 1)
local last = tonumber(call('GET', key('sequence')) or 0)
for _ = 1, 10 * SOME do
    if first > last or call('EXISTS', key('a', text(first))) == 1 then
        break
    end
    first = first + 1
end
redis.pcall('SET', key('first'), text(first))

for _, owner in ipairs(call('ZRANGEBYSCORE', key('owners'), '-inf', text(now - LEASE))) do
    if call('ZCARD', key('d', owner)) == 0 then
        call('ZREM', key('owners'), owner)
        call('DEL', key('h', owner))
    end
end

-- The numbers without a denial for DENIALS_KEPT.
local forgiven = call('ZRANGEBYSCORE', key('denied'), '-inf', text(now - DENIALS_KEPT), 'LIMIT', '0', SOME)
for _, number in ipairs(forgiven) do
    call('DEL', key('f', number))
    call('ZREM', key('denied'), number)
end

-- When the oldest of the attempts, blocks and denials that are left was written, as far as that is known.
local oldest = now
if first <= last then
    local kept = fetch(text(first))
    oldest = kept and (kept.begun or kept.ended_at) or 0
end
local blocks = call('HGETALL', key('blocks'))
for i = 1, #blocks, 2 do
    local block = cjson.decode(blocks[i + 1])
    if has_expired(block, tonumber(ARGV[1])) then
        call('HDEL', key('blocks'), blocks[i])
    else
        oldest = math.min(oldest, block.since)
    end
end
oldest = math.min(oldest, tonumber(call('ZRANGE', key('denied'), 0, 0, 'WITHSCORES')[2] or oldest))

-- No number is left that was hashed with these keys.
for fingerprint, at in pairs(number_keys()) do
    if at > 0 and at + KEY_USE_KEPT < oldest and call('HEXISTS', key('pin_keys'), fingerprint) == 0 then
        call('HDEL', key('number_keys'), fingerprint)
    end
end

return {(#old == SOME or #forgiven == SOME) and 1 or 0, left}
