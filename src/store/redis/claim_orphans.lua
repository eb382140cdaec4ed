-- Gives pending attempts of owners that are gone to another one. ARGV: the owner, how many at most, and which hand-over
-- it got last. Answers with the number of the hand-over, the time, until when it is in doubt, and the attempts.
--
-- An answer may be lost on its way, and then its attempts would have an owner that does not know of them: so they are
-- handed over again until the owner says that it has got them.

local owner, most, got = ARGV[1], tonumber(ARGV[2]), ARGV[3]
hear_of(owner)

local handed = call('GET', key('h', owner))
handed = handed and cjson.decode(handed)
local answer
local function hand_over(kept)
    answer[#answer + 1] = cjson.encode(kept)
end

if handed and handed.number ~= got then
    answer = {handed.number, text(now), text(doubt)}
    for _, sequence in ipairs(handed.sequences) do
        local kept = fetch(sequence)
        if kept and not kept.outcome and kept.owner == owner then
            hand_over(kept)
        end
    end
    return answer
end

-- A new number, also where the last one is forgotten here.
handed = {number = text(math.max(handed and handed.number or 0, tonumber(got) or 0) + 1), sequences = {}}
answer = {handed.number, text(now), text(doubt)}
local function take(other, sequence)
    local kept = fetch(sequence)
    call('ZREM', key('d', other), sequence)
    if not kept then
        -- Its key is gone, by hand or for want of memory.
        call('ZREM', key('pending'), sequence)
        return
    end
    kept.owner = owner
    keep(kept)
    call('ZADD', key('d', owner), text(kept.deadline), sequence)
    table.insert(handed.sequences, sequence)
    hand_over(kept)
end

-- While the server was away nobody could renew a lease: then all have the time of one to do so,
-- and to say how their calls have ended.
local is_steady = back + LEASE <= now
local gone = is_steady and call('ZRANGEBYSCORE', key('owners'), '-inf', text(now - LEASE)) or {}
for _, other in ipairs(gone) do
    local left = most - #handed.sequences
    if left <= 0 then
        break
    end
    for _, sequence in ipairs(call('ZRANGE', key('d', other), 0, text(left - 1))) do
        take(other, sequence)
    end
end
-- Long after its deadline nobody drives an attempt any more, whoever is alive: its end was lost.
local left = is_steady and call('ZRANGEBYSCORE', key('pending'), '-inf', text(now - HOLD), 'LIMIT', '0', ARGV[2]) or {}
for _, sequence in ipairs(left) do
    local kept = fetch(sequence)
    if #handed.sequences < most then
        take(kept and kept.owner or owner, sequence)
    end
end
if #handed.sequences == 0 then
    return {got, text(now), text(doubt)}
end
call('SET', key('h', owner), cjson.encode(handed), 'PX', text(DAY))
return answer
