-- Records changes of attempts (S7). ARGV: the changes as JSON. Returns the attempts of `ended` whose end locked their
-- number.

local function add_step(attempt, step)
    local steps = keys.steps(attempt.sequence)
    for _, recorded in ipairs(call('LRANGE', steps, 0, -1)) do
        if recorded == step then
            return
        end
    end
    call('RPUSH', steps, step)
end

-- The field of an attempt with the time of a step.
local times = {placed = 'placed_at', ringing = 'ringing_at', answered = 'answered_at'}

local changes, lockouts = {}, {}

function changes.step(change, attempt)
    if not attempt then
        return
    end
    add_step(attempt, change.step)
    local time = times[change.name]
    if time then
        attempt[time] = attempt[time] or change.at
    end
    if change.reference then
        attempt.backend, attempt.reference = change.backend, change.reference
        -- The end of an attempt does not wait until earlier changes are recorded (S18).
        if not attempt.outcome then
            attempt.codes = change.codes
        end
    elseif change.name == 'backend_refused' and not attempt.reference then
        attempt.backend = change.backend
    end
    write_attempt(attempt)
end

function changes.ended(change, attempt)
    end_attempt(attempt, change.owner, change)
    -- Also if an earlier change ended it so: its answer may have been lost.
    if attempt and attempt.owner == change.owner and attempt.outcome == change.outcome and attempt.locked_until_at then
        lockouts[#lockouts + 1] = cjson.encode(attempt)
    end
end

function changes.released(_, attempt)
    if attempt then
        release_number(attempt)
    end
end

function changes.refused(change, attempt)
    if attempt then
        if end_attempt(attempt, attempt.owner, change) then
            subtract(attempt)
        end
        return
    end
    local row = change.row
    row.ended = now
    local before, is_unreadable = latest_attempt(row.id)
    insert_attempt(row)
    call('ZADD', keys.ended, text(now), row.sequence)
    -- S6: it answers for its id, unless another attempt is pending or has begun since. An attempt that cannot be read
    -- may be pending.
    if not is_unreadable and (not before or before.outcome and (before.begun or 0) + change.waited <= now) then
        set_latest(row)
    end
end

for _, argument in ipairs(ARGV) do
    local change = cjson.decode(argument)
    local attempt, is_unreadable = find_attempt(change)
    -- What cannot be read cannot be changed. It is never approved.
    if not is_unreadable then
        changes[change.change](change, attempt)
    end
end
return lockouts
