-- S9: makes an owner the owner of pending attempts whose owner is gone. ARGV: the owner, the limit, and the number of
-- the last claim whose answer it received. Returns the number of this claim, the time, until when ages are unknown, and
-- the sequence and the JSON of each attempt. The JSON of attempts that cannot be read is empty. They have no owner any more.
--
-- An answer may be lost, and then its attempts would have an owner that does not know of them. So a claim is returned
-- again until its owner acknowledges it.

local owner, limit, acked = ARGV[1], tonumber(ARGV[2]), ARGV[3]
renew_lease(owner)

-- A handover that cannot be read is treated as missing.
local handover = decode(get(keys.handover(owner)), function(handover)
    return type(handover.sequences) == 'table' and are('string', handover.number, unpack(handover.sequences))
        and tonumber(handover.number)
end)
local answer
local function return_attempt(sequence, attempt)
    answer[#answer + 1] = sequence
    answer[#answer + 1] = attempt and cjson.encode(attempt) or ''
end

if handover and handover.number ~= acked then
    answer = {handover.number, text(now), text(unknown_until)}
    for _, sequence in ipairs(handover.sequences) do
        local attempt, is_unreadable = read_attempt(sequence)
        if is_unreadable or attempt and not attempt.outcome and attempt.owner == owner then
            return_attempt(sequence, attempt)
        end
    end
    return answer
end

-- The next number, even if the last handover was removed here.
handover = {number = text(math.max(handover and handover.number or 0, tonumber(acked) or 0) + 1), sequences = {}}
answer = {handover.number, text(now), text(unknown_until)}
local function claim(old_owner, sequence)
    local attempt, is_unreadable = read_attempt(sequence)
    call('ZREM', keys.owner(old_owner), sequence)
    if is_unreadable then
        return_attempt(sequence)
        local deadline = call('ZSCORE', keys.pending, sequence)
        if not deadline or deadline + DEADLINE_GRACE <= now then
            -- It no longer counts as pending. begin.lua still refuses its number, for limits.deadline + DEADLINE_GRACE
            -- from now. A sweep removes it.
            call('ZREM', keys.pending, sequence)
            call('ZADD', keys.ended, text(now), sequence)
        end
        return
    end
    if not attempt then
        -- Its key was deleted by hand, or evicted because memory was short.
        call('ZREM', keys.pending, sequence)
        return
    end
    attempt.owner = owner
    write_attempt(attempt)
    call('ZADD', keys.owner(owner), text(attempt.deadline), sequence)
    table.insert(handover.sequences, sequence)
    return_attempt(sequence, attempt)
end

-- While the server was unreachable no lease could be renewed. So each owner has the time of a lease after that, to renew
-- it and to record how its calls ended.
local is_steady = back_at + LEASE <= now
local expired = is_steady and call('ZRANGEBYSCORE', keys.owners, '-inf', text(now - LEASE)) or {}
for _, old_owner in ipairs(expired) do
    -- Repeated, because attempts that cannot be read do not count towards the limit. Each claim removes its attempt
    -- from the owner.
    while #handover.sequences < limit do
        local page = call('ZRANGE', keys.owner(old_owner), 0, text(limit - #handover.sequences - 1))
        for _, sequence in ipairs(page) do
            claim(old_owner, sequence)
        end
        if #page == 0 then
            break
        end
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
    answer[1] = acked
    return answer
end
call('SET', keys.handover(owner), cjson.encode(handover), 'PX', text(HANDOVER_TTL))
return answer
