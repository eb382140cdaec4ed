-- Begins an attempt. ARGV: the attempt, its number's hashes by all keys, the current one first, and the limits, in one.
-- Answers with a word, and what belongs to it.

local new, hashes, limits = unpack(cjson.decode(ARGV[1]))

local used = number_keys()
local unknown = unknown_key(used, hashes)
if unknown then
    return {'number_key', unknown}
end
note_key(used, hashes[1].fingerprint)

local function rekey_block(old, number, scope)
    local old_field, field = old .. scope, number .. scope
    local text_of = call('HGET', key('blocks'), old_field)
    if not text_of then
        return
    end
    local block, there = cjson.decode(text_of), call('HGET', key('blocks'), field)
    there = there and cjson.decode(there)
    -- Of two blocks, the one that ends later is kept.
    if not there or there['until'] and (not block['until'] or block['until'] > there['until']) then
        block.number = number
        call('HSET', key('blocks'), field, cjson.encode(block))
    end
    call('HDEL', key('blocks'), old_field)
end

-- Returns the attempts that it moves, and their scores.
local function rekey_counts(kind, old, number)
    local counted = call('ZRANGE', key(kind, old), 0, -1, 'WITHSCORES')
    for i = 1, #counted, 2 do
        call('ZADD', key(kind, number), counted[i + 1], counted[i])
    end
    if #counted > 0 then
        call('PEXPIRE', key(kind, number), text(UNUSED))
        call('DEL', key(kind, old))
    end
    return counted
end

local function rekey_denials(old, number)
    local denials, there = denials_of(old), denials_of(number)
    if not denials then
        return
    end
    reset_denials(old)
    denials.number = number
    -- Of two records, all denials count, and the lock that ends later.
    if there then
        denials.recent = denials.recent or {}
        for _, at in ipairs(there.recent or {}) do
            table.insert(denials.recent, at)
        end
        table.sort(denials.recent)
        denials.locks, denials.last = math.max(denials.locks, there.locks), math.max(denials.last, there.last)
        if (there.locked_until or 0) > (denials.locked_until or 0) then
            denials.locked_from, denials.locked_until = there.locked_from, there.locked_until
        end
    end
    keep_denials(denials)
    -- Attempts keep their old hash, and an administrator may unlock the number of one. No lock is longer than a day. The
    -- hash that the denials are moved to leads nowhere, so there is no circle.
    call('SET', key('moved', old), number, 'PX', text(DAY))
    call('DEL', key('moved', number))
end

-- Rekeys the blocks, the PIN, the denials, the ringing call and the counters of a number to its current key.
local function rekey(old)
    for _, scope in ipairs({'', ':number'}) do
        rekey_block(old.number, new.number, scope)
        rekey_block(old.line, new.line, scope)
    end
    local pin = remove_pin(old.number)
    if pin and call('HEXISTS', key('pins'), new.number) == 0 then
        pin.number, pin.fingerprint = new.number, hashes[1].fingerprint
        add_pin(pin)
    end
    rekey_denials(old.number, new.number)
    local ringing = call('GET', key('r', old.number))
    local kept = fetch(ringing)
    if kept then
        kept.number, kept.line = new.number, new.line
        keep(kept)
        call('SETNX', key('r', new.number), ringing)
    end
    call('DEL', key('r', old.number))
    rekey_counts('n', old.number, new.number)
    rekey_counts('l', old.line, new.line)
    local pending = rekey_counts('lp', old.line, new.line)
    for i = 1, #pending, 2 do
        local to_line = fetch(pending[i])
        if to_line then
            to_line.line = new.line
            keep(to_line)
        end
    end
end

local before = current(new.id)
for i = 2, #hashes do
    if used[hashes[i].fingerprint] then
        rekey(hashes[i])
        if before and before.number == hashes[i].number then
            before.number = new.number
        end
    end
end
if before and not before.outcome then
    if before.number ~= new.number then
        return {'other_number'}
    elseif before.generation == new.generation then
        return {'new'}
    end
    return {'elsewhere', before.generation}
end
if find(new) then
    return {'over'}
end

for _, field in ipairs({new.number .. ':number', new.number, new.line}) do
    local block = call('HGET', key('blocks'), field)
    if block and not has_expired(cjson.decode(block)) then
        return {'blocked', block}
    end
end

local denials = denials_of(new.number)
if is_locked(denials) then
    return limit('denials', denials.locked_until - now)
end

local ringing = fetch(call('GET', key('r', new.number)))
if ringing and ringing.deadline + HOLD > now then
    return {'in_progress'}
end

local to_number = key('n', new.number)
local after = wait(to_number, limits.calls_per_number, limits.per_number_window)
if after then
    return limit('calls_per_number', after)
end
after = wait(to_number, limits.calls_per_number_per_day, DAY)
if after then
    return limit('calls_per_number_per_day', after)
end
after = wait(key('l', new.line), limits.line_per_minute, MINUTE) or wait(key('lp', new.line), limits.line_in_progress, 0)
if after then
    return limit('calls_per_line', after)
end
after = wait(key('minute'), limits.calls_per_minute, MINUTE)
if after then
    return limit('calls_per_minute', after)
end
after = wait(key('pending'), limits.concurrent_calls, 0)
if after then
    return limit('concurrent_calls', after)
end
after = new.country and wait_day(key('c', new.country), limits.country_per_day)
if after then
    return limit('by_country', after)
end
after = wait_day(key('day'), limits.calls_per_day)
if after then
    return limit('calls_per_day', after)
end

new.begun, new.deadline = now, now + limits.deadline
add(new)
call('HSET', key('i', new.id), 'current', new.sequence)
call('SET', key('r', new.number), new.sequence)
call('ZADD', key('d', new.owner), text(new.deadline), new.sequence)
hear_of(new.owner)
count(new)
return {'new'}
