-- S9: makes an owner the owner of pending attempts whose owner is gone. ARGV: the owner, the limit, and the number of
-- the last claim whose answer it received. Returns the number of this claim, the time, until when ages are unknown, and
-- the attempts.
--
-- An answer may be lost, and then its attempts would have an owner that does not know of them. So a claim is returned
-- again until its owner acknowledges it.

local owner, limit, acked = ARGV[1], tonumber(ARGV[2]), ARGV[3]
renew_lease(owner)

local handover = call('GET', keys.handover(owner))
handover = handover and cjson.decode(handover)
local answer
local function return_attempt(attempt)
    answer[#answer + 1] = cjson.encode(attempt)
end

if handover and handover.number ~= acked then
    answer = {handover.number, text(now), text(unknown_until)}
    for _, sequence in ipairs(handover.sequences) do
        local attempt = read_attempt(sequence)
        if attempt and not attempt.outcome and attempt.owner == owner then
            return_attempt(attempt)
        end
    end
    return answer
end

-- The next number, even if the last handover was removed here.
handover = {number = text(math.max(handover and handover.number or 0, tonumber(acked) or 0) + 1), sequences = {}}
answer = {handover.number, text(now), text(unknown_until)}
local function claim(old_owner, sequence)
    local attempt = read_attempt(sequence)
    call('ZREM', keys.owner(old_owner), sequence)
    if not attempt then
        -- Its key was deleted by hand, or evicted because memory was short.
        call('ZREM', keys.pending, sequence)
        return
    end
    attempt.owner = owner
    write_attempt(attempt)
    call('ZADD', keys.owner(owner), text(attempt.deadline), sequence)
    table.insert(handover.sequences, sequence)
    return_attempt(attempt)
end

-- While the server was unreachable no lease could be renewed. So each owner has the time of a lease after that, to renew
-- it and to record how its calls ended.
local is_steady = back_at + LEASE <= now
local expired = is_steady and call('ZRANGEBYSCORE', keys.owners, '-inf', text(now - LEASE)) or {}
for _, old_owner in ipairs(expired) do
    local left = limit - #handover.sequences
    if left <= 0 then
        break
    end
    for _, sequence in ipairs(call('ZRANGE', keys.owner(old_owner), 0, text(left - 1))) do
        claim(old_owner, sequence)
    end
end
-- An attempt that is pending DEADLINE_GRACE after its deadline has lost its end, even if its owner is alive.
local overdue = is_steady
    and call('ZRANGEBYSCORE', keys.pending, '-inf', text(now - DEADLINE_GRACE), 'LIMIT', '0', ARGV[2]) or {}
for _, sequence in ipairs(overdue) do
    local attempt = read_attempt(sequence)
    if #handover.sequences < limit then
        claim(attempt and attempt.owner or owner, sequence)
    end
end
if #handover.sequences == 0 then
    return {acked, text(now), text(unknown_until)}
end
call('SET', keys.handover(owner), cjson.encode(handover), 'PX', text(HANDOVER_TTL))
return answer
