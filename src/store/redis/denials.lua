-- The denials of numbers. It is inserted between common.lua and the scripts that need it. The rules are those of
-- `NumberDenials` in ../denials.rs.

local function denials_of(number)
    local denials = call('GET', key('f', number))
    return denials and cjson.decode(denials)
end

local function keep_denials(denials)
    call('SET', key('f', denials.number), cjson.encode(denials))
    call('ZADD', key('denied'), text(denials.last), denials.number)
end

local function is_locked(denials)
    return denials and (denials.locked_until or 0) > now
end

-- Returns whether a number was locked, and resets its denials.
local function reset_denials(number)
    local was_locked = is_locked(denials_of(number))
    call('DEL', key('f', number))
    call('ZREM', key('denied'), number)
    return was_locked
end

-- Counts a denial. Returns the end of the lock that it causes, if it causes one.
local function deny(kept, limits)
    local denials = denials_of(kept.number)
    if is_locked(denials) then
        return
    end
    if not denials or denials.last + DENIALS_KEPT <= now then
        denials = {number = kept.number, locks = 0}
    end
    local recent = {}
    for _, at in ipairs(denials.recent or {}) do
        if at + limits.window > now then
            recent[#recent + 1] = at
        end
    end
    recent[#recent + 1] = now
    denials.recent, denials.last, denials.masked = recent, now, kept.masked
    local locked_until
    if #recent >= limits.count then
        -- The power is bounded: long before that, a lock is the longest one.
        local lock = math.min(limits.lock * 2 ^ math.min(denials.locks, 40), LONGEST_LOCK)
        locked_until = now + lock
        denials.recent, denials.locks = nil, denials.locks + 1
        denials.locked_from, denials.locked_until = now, locked_until
    end
    keep_denials(denials)
    return locked_until
end

-- Ends an attempt. Returns whether it has, and the end of the lock of its number that this caused, by the wall clock.
local function finish(kept, owner, verdict)
    if not kept or kept.outcome or kept.owner ~= owner then
        return false
    end
    if verdict.outcome == 'Verified' and kept.deadline <= now then
        return false
    end
    kept.outcome, kept.text, kept.ended, kept.ended_at = verdict.outcome, verdict.text, verdict.ended, now
    kept.judged_by, kept.limit, kept.codes = verdict.judged_by, verdict.limit, nil
    local locked_until = verdict.denials and deny(kept, verdict.denials)
    kept.locked_until = locked_until and wall + locked_until - now or nil
    if verdict.outcome == 'Verified' then
        reset_denials(kept.number)
    end
    keep(kept)
    call('ZREM', key('pending'), kept.sequence)
    call('ZREM', key('lp', kept.line), kept.sequence)
    call('ZREM', key('d', owner), kept.sequence)
    call('ZADD', key('ended'), text(now), kept.sequence)
    if verdict.release then
        release(kept)
    end
    return true, kept.locked_until
end
