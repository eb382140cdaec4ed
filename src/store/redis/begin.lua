-- Begins an attempt. ARGV: the attempt and its number's hashes by all keys, the current one first; how long it may take,
-- calls to its number, within, calls at once, calls in a minute. Answers with a word, and what belongs to it.

local new, hashes = unpack(cjson.decode(ARGV[1]))
local span, per_number, window = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local at_once, per_minute = tonumber(ARGV[5]), tonumber(ARGV[6])

local used = number_keys()
local unknown = unknown_key(used, hashes)
if unknown then
    return {'number_key', unknown}
end
note_key(used, hashes[1].fingerprint)

local function rekey_block(old, number)
    local text_of = call('HGET', key('blocks'), old)
    if not text_of then
        return
    end
    local block, there = cjson.decode(text_of), call('HGET', key('blocks'), number)
    there = there and cjson.decode(there)
    -- Of two blocks, the one that ends later is kept.
    if not there or there['until'] and (not block['until'] or block['until'] > there['until']) then
        block.number = number
        call('HSET', key('blocks'), number, cjson.encode(block))
    end
    call('HDEL', key('blocks'), old)
end

-- Rekeys the blocks, the PIN, the ringing call and the counters of a number to its current key.
local function rekey(old)
    rekey_block(old.number, new.number)
    rekey_block(old.line, new.line)
    local pin = remove_pin(old.number)
    if pin and call('HEXISTS', key('pins'), new.number) == 0 then
        pin.number, pin.fingerprint = new.number, hashes[1].fingerprint
        add_pin(pin)
    end
    local ringing = call('GET', key('r', old.number))
    local kept = fetch(ringing)
    if kept then
        kept.number, kept.line = new.number, new.line
        keep(kept)
        call('SETNX', key('r', new.number), ringing)
    end
    call('DEL', key('r', old.number))
    local begun = call('ZRANGE', key('n', old.number), 0, -1, 'WITHSCORES')
    for i = 1, #begun, 2 do
        call('ZADD', key('n', new.number), begun[i + 1], begun[i])
    end
    if #begun > 0 then
        call('PEXPIRE', key('n', new.number), text(DAY))
        call('DEL', key('n', old.number))
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

for _, number in ipairs({new.number, new.line}) do
    local block = call('HGET', key('blocks'), number)
    if block and not has_expired(cjson.decode(block)) then
        return {'blocked', block}
    end
end

local ringing = fetch(call('GET', key('r', new.number)))
if ringing and ringing.deadline + HOLD > now then
    return {'in_progress'}
end

-- How long until one more may come, if not now. Of pending calls, those whose deadline is yet to come are counted.
local function wait(counted, most, within)
    if call('ZCOUNT', counted, '(' .. text(now - within), '+inf') >= most then
        local which = text(-most)
        return call('ZRANGE', counted, which, which, 'WITHSCORES')[2] + within - now
    end
end
local to_number, lately, pending = key('n', new.number), key('minute'), key('pending')
local after = wait(to_number, per_number, window)
if after then
    return {'number_limit', text(after)}
end
after = wait(lately, per_minute, MINUTE)
if after then
    return {'minute_limit', text(after)}
end
after = wait(pending, at_once, 0)
if after then
    return {'concurrent_limit', text(after)}
end

new.begun, new.deadline = now, now + span
add(new)
call('HSET', key('i', new.id), 'current', new.sequence)
call('SET', key('r', new.number), new.sequence)
call('ZADD', pending, text(new.deadline), new.sequence)
call('ZADD', key('d', new.owner), text(new.deadline), new.sequence)
hear_of(new.owner)
-- Removes some entries that are older than every window: more than one call adds, and few enough to delay no other call.
local function remove_old(begun, within)
    local old = math.min(call('ZCOUNT', begun, '-inf', text(now - within)), 100)
    if old > 0 then
        call('ZREMRANGEBYRANK', begun, '0', text(old - 1))
    end
end
-- A day is the longest window that there is; other nodes may have another one than this.
remove_old(to_number, DAY)
call('ZADD', to_number, text(now), new.sequence)
call('PEXPIRE', to_number, text(DAY))
remove_old(lately, MINUTE)
call('ZADD', lately, text(now), new.sequence)
return {'new'}
