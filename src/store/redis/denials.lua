-- Ends attempts, and counts denials (S4, S5, S13). It is put between common.lua and the scripts that need it. The rules
-- for denials are those of `NumberDenials` in ../denials.rs.

local function denials_of(number)
    local denials = call('GET', keys.denials(number))
    return denials and cjson.decode(denials)
end

local function write_denials(denials)
    call('SET', keys.denials(denials.number_hash), cjson.encode(denials))
    call('ZADD', keys.denied, text(denials.last), denials.number_hash)
end

local function is_locked(denials)
    return denials and (denials.locked_until or 0) > now
end

-- Resets the denials of a number, and returns whether it was locked.
local function reset_denials(number)
    local was_locked = is_locked(denials_of(number))
    call('DEL', keys.denials(number))
    call('ZREM', keys.denied, number)
    return was_locked
end

-- Counts a denial. Returns the end of the lock that it causes, if it causes one.
local function deny(attempt, limits)
    local denials = denials_of(attempt.number_hash)
    if is_locked(denials) then
        return
    end
    if not denials or denials.last + DENIAL_RETENTION <= now then
        denials = {number_hash = attempt.number_hash, locks = 0}
    end
    local recent = {}
    for _, at in ipairs(denials.recent or {}) do
        if at + limits.window > now then
            recent[#recent + 1] = at
        end
    end
    recent[#recent + 1] = now
    denials.recent, denials.last, denials.masked = recent, now, attempt.masked
    local locked_until
    if #recent >= limits.count then
        -- The exponent is bounded: long before that, a lock has its maximum.
        local lock = math.min(limits.lock * 2 ^ math.min(denials.locks, 40), MAX_LOCK)
        locked_until = now + lock
        denials.recent, denials.locks = nil, denials.locks + 1
        denials.locked_from, denials.locked_until = now, locked_until
    end
    write_denials(denials)
    return locked_until
end

-- Ends an attempt. Returns whether it did, and the end of the lock of its number that this caused, by the wall clock.
local function end_attempt(attempt, owner, ending)
    -- S4: once, and by its owner.
    if not attempt or attempt.outcome or attempt.owner ~= owner then
        return false
    end
    -- S5: an approval only before the deadline.
    if ending.outcome == 'Verified' and attempt.deadline <= now then
        return false
    end
    attempt.outcome, attempt.text, attempt.ended, attempt.ended_at = ending.outcome, ending.text, now, ending.ended_at
    -- S18: the codes of a call are stored only while it is pending.
    attempt.judged_by, attempt.limit, attempt.codes = ending.judged_by, ending.limit, nil
    local locked_until = ending.denials and deny(attempt, ending.denials)
    attempt.locked_until_at = locked_until and wall + locked_until - now or nil
    if ending.outcome == 'Verified' then
        reset_denials(attempt.number_hash)
    end
    write_attempt(attempt)
    call('ZREM', keys.pending, attempt.sequence)
    call('ZREM', keys.pending_line(attempt.line_hash), attempt.sequence)
    call('ZREM', keys.owner(owner), attempt.sequence)
    call('ZADD', keys.ended, text(now), attempt.sequence)
    if ending.release then
        release_number(attempt)
    end
    return true, attempt.locked_until_at
end
