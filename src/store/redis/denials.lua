-- Ends attempts, and counts denials (S4, S5, S13). It is put between common.lua and the scripts that need it. The rules
-- for denials are those of `NumberDenials` in ../denials.rs.

local function fits_denials(denials)
    for _, at in ipairs(type(denials.recent) == 'table' and denials.recent or {}) do
        if type(at) ~= 'number' then
            return false
        end
    end
    return is_hex(denials.number_hash) and are('number', denials.locks, denials.last)
        and is_optional('table', denials.recent)
        and is_optional('number', denials.locked_from) and is_optional('number', denials.locked_until)
end

-- Returns the denials of a number; or `nil, true` if they cannot be read.
local function denials_of(number)
    return decode(get(keys.denials(number)), fits_denials)
end

local function write_denials(denials)
    call('SET', keys.denials(denials.number_hash), cjson.encode(denials))
    call('ZADD', keys.denied, text(denials.last), denials.number_hash)
end

local function is_locked(denials)
    return denials and (denials.locked_until or 0) > now
end

-- Resets the denials of a number, and returns whether it was locked. With denials that cannot be read, it was: no call to it
-- could begin.
local function reset_denials(number)
    local denials, was_locked = denials_of(number)
    was_locked = was_locked or is_locked(denials)
    call('DEL', keys.denials(number))
    call('ZREM', keys.denied, number)
    return was_locked
end

-- Counts a denial. Returns the end of the lock that it causes, if it causes one.
local function deny(attempt, limits)
    local denials, is_unreadable = denials_of(attempt.number_hash)
    -- As long as they cannot be read, no call to the number begins.
    if is_unreadable or is_locked(denials) then
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
