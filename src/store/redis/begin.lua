-- Begins an attempt, or refuses it (S1, S2). ARGV[1] is a JSON array: the attempt, the hashes of its number by all keys,
-- the current one first, and the limits. Returns the name of the result, then its values.

local new, hashes, limits = unpack(cjson.decode(ARGV[1]))

-- S14: a process that lacks a key in use could miss a block or a limit.
local used = number_keys_in_use()
local missing = missing_number_key(used, hashes)
if missing then
    return {'number_key', missing}
end
record_key_use(used, hashes[1].fingerprint)

local function rekey_block(old, number, suffix)
    local old_field, field = old .. suffix, number .. suffix
    local block = block_of(old_field)
    local existing, is_unreadable = block_of(field)
    if not block or is_unreadable then
        return
    end
    -- Of two blocks, the one that ends later is kept.
    if not existing or existing.until_at and (not block.until_at or block.until_at > existing.until_at) then
        block.number_hash = number
        call('HSET', keys.blocks, field, cjson.encode(block))
    end
    call('HDEL', keys.blocks, old_field)
end

-- Returns the attempts that it moves, and their scores.
local function rekey_counter(old, new)
    local counted = call('ZRANGE', old, 0, -1, 'WITHSCORES')
    for i = 1, #counted, 2 do
        call('ZADD', new, counted[i + 1], counted[i])
    end
    if #counted > 0 then
        call('PEXPIRE', new, text(COUNTER_TTL))
        call('DEL', old)
    end
    return counted
end

local function rekey_denials(old, number)
    local denials = denials_of(old)
    local existing, is_unreadable = denials_of(number)
    if not denials or is_unreadable then
        return
    end
    reset_denials(old)
    denials.number_hash = number
    -- Of two records, all denials count, and the lock that ends later.
    if existing then
        denials.recent = denials.recent or {}
        for _, at in ipairs(existing.recent or {}) do
            table.insert(denials.recent, at)
        end
        table.sort(denials.recent)
        denials.locks, denials.last = math.max(denials.locks, existing.locks), math.max(denials.last, existing.last)
        if (existing.locked_until or 0) > (denials.locked_until or 0) then
            denials.locked_from, denials.locked_until = existing.locked_from, existing.locked_until
        end
    end
    write_denials(denials)
    -- An attempt keeps the hash that it began with, and an administrator may unlock the number of such an attempt. No lock
    -- is longer than MAX_LOCK. The new hash leads nowhere, so there is no circle.
    call('SET', keys.rehashed(old), number, 'PX', text(MAX_LOCK))
    call('DEL', keys.rehashed(number))
end

-- Moves the blocks, the PIN, the denials, the ringing call and the counters of a number to its current hash. Records that
-- cannot be read stay.
local function rekey(old)
    for _, suffix in ipairs({'', ':number'}) do
        rekey_block(old.number_hash, new.number_hash, suffix)
        rekey_block(old.line_hash, new.line_hash, suffix)
    end
    local pin = pin_of(old.number_hash) and remove_pin(old.number_hash)
    if pin and call('HEXISTS', keys.pins, new.number_hash) == 0 then
        pin.number_hash, pin.key_fingerprint = new.number_hash, hashes[1].fingerprint
        add_pin(pin)
    end
    rekey_denials(old.number_hash, new.number_hash)
    local ringing = call('GET', keys.ringing(old.number_hash))
    local attempt, is_unreadable = read_attempt(ringing)
    if attempt then
        attempt.number_hash, attempt.line_hash = new.number_hash, new.line_hash
        write_attempt(attempt)
    end
    if attempt or is_unreadable then
        call('SETNX', keys.ringing(new.number_hash), ringing)
    end
    call('DEL', keys.ringing(old.number_hash))
    rekey_counter(keys.number(old.number_hash), keys.number(new.number_hash))
    rekey_counter(keys.line(old.line_hash), keys.line(new.line_hash))
    local pending = rekey_counter(keys.pending_line(old.line_hash), keys.pending_line(new.line_hash))
    for i = 1, #pending, 2 do
        local on_line = read_attempt(pending[i])
        if on_line then
            on_line.line_hash = new.line_hash
            write_attempt(on_line)
        end
    end
end

-- Returns the refusal if a block or denials under an older hash of the number cannot be read.
local function refused_by_unreadable(number)
    for _, field in ipairs({number.number_hash .. ':number', number.number_hash, number.line_hash}) do
        local _, is_unreadable = block_of(field)
        if is_unreadable then
            return {'unreadable', 'block'}
        end
    end
    local _, is_unreadable = denials_of(number.number_hash)
    return is_unreadable and {'unreadable', 'denials'}
end

local before, is_unreadable = latest_attempt(new.id)
if is_unreadable then
    return {'unreadable', 'attempt'}
end
for i = 2, #hashes do
    local refused = used[hashes[i].fingerprint] and refused_by_unreadable(hashes[i])
    if refused then
        return refused
    end
end
for i = 2, #hashes do
    if used[hashes[i].fingerprint] then
        rekey(hashes[i])
        if before and before.number_hash == hashes[i].number_hash then
            before.number_hash = new.number_hash
        end
    end
end

-- S3: a repetition.
if before and not before.outcome then
    if before.number_hash ~= new.number_hash then
        return {'other_number'}
    elseif before.generation == new.generation then
        return {'new'}
    end
    return {'already_owned', before.generation}
end
local earlier
earlier, is_unreadable = find_attempt(new)
if is_unreadable then
    return {'unreadable', 'attempt'}
elseif earlier then
    return {'already_ended'}
end

-- S11: blocks.
for _, field in ipairs({new.number_hash .. ':number', new.number_hash, new.line_hash}) do
    local block
    block, is_unreadable = block_of(field)
    if is_unreadable then
        return {'unreadable', 'block'}
    elseif block and not has_expired(block) then
        return {'blocked', cjson.encode(block)}
    end
end

-- S13: locks.
local denials
denials, is_unreadable = denials_of(new.number_hash)
if is_unreadable then
    return {'unreadable', 'denials'}
elseif is_locked(denials) then
    return refused_by('denials', denials.locked_until - now)
end

-- S8: one call for each number.
local holder = call('GET', keys.ringing(new.number_hash))
local ringing
ringing, is_unreadable = read_attempt(holder)
local deadline = ringing and ringing.deadline
if is_unreadable then
    -- The deadline of an ended attempt is not known. It began before it ended, so its deadline is at most
    -- limits.deadline after its end.
    local ended = call('ZSCORE', keys.ended, holder)
    deadline = call('ZSCORE', keys.pending, holder) or ended and ended + limits.deadline or math.huge
end
if deadline and deadline + DEADLINE_GRACE > now then
    return {'in_progress'}
end

-- S12: limits.
local to_number = keys.number(new.number_hash)
local after = wait(to_number, limits.calls_per_number, limits.per_number_window)
if after then
    return refused_by('calls_per_number', after)
end
after = wait(to_number, limits.calls_per_number_per_day, DAY)
if after then
    return refused_by('calls_per_number_per_day', after)
end
after = wait(keys.line(new.line_hash), limits.line_per_minute, MINUTE)
    or wait(keys.pending_line(new.line_hash), limits.line_in_progress, 0)
if after then
    return refused_by('calls_per_line', after)
end
after = wait(keys.minute, limits.calls_per_minute, MINUTE)
if after then
    return refused_by('calls_per_minute', after)
end
after = wait(keys.pending, limits.concurrent_calls, 0)
if after then
    return refused_by('concurrent_calls', after)
end
after, is_unreadable = wait_day(new.country and keys.country(new.country), limits.country_per_day)
if is_unreadable then
    return {'unreadable', 'counter'}
elseif after then
    return refused_by('by_country', after)
end
after, is_unreadable = wait_day(keys.day, limits.calls_per_day)
if is_unreadable then
    return {'unreadable', 'counter'}
elseif after then
    return refused_by('calls_per_day', after)
end

new.begun, new.deadline = now, now + limits.deadline
insert_attempt(new)
set_latest(new)
call('SET', keys.ringing(new.number_hash), new.sequence)
call('ZADD', keys.owner(new.owner), text(new.deadline), new.sequence)
renew_lease(new.owner)
count(new)
return {'new'}
