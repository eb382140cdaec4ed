-- Shared by all scripts, and put before each of them. Rust adds the constants and `keys`, the constructors of the Redis
-- keys, before this file: see scripts.rs and keys.rs, which also says what each key holds.
--
-- Times are in milliseconds. A field that ends in `_at` is a wall-clock time; the others are by the store's clock (S10).
-- JSON has numbers of up to 14 digits; a generation is text, because it may have more.

local call = redis.call

local function text(number)
    return string.format('%.0f', number)
end

-- S10: the store's clock never goes back. `wall` is the server's clock. `unknown_until` is the last time of which it is
-- not known how long ago it was, because the server's clock was set back after it. `back_at` is the last time when the
-- server may have been unreachable for a while.
local time = call('TIME')
local wall = time[1] * 1000 + math.floor(time[2] / 1000)
local now, back_at, unknown_until
do
    local clock = call('HMGET', keys.clock, 'last', 'wall', 'back_at', 'unknown_until')
    local last, last_wall = tonumber(clock[1] or 0), tonumber(clock[2] or 0)
    local step = wall - last_wall
    -- After the server's clock was moved back, the store's clock is ahead of it. It stands still until the server's clock
    -- has caught up.
    local ahead = last - last_wall + math.max(-step, 0)
    local stands_still = step < -CLOCK_GAP or step > CLOCK_GAP and ahead > 0
    if step > CLOCK_GAP then
        ahead = math.max(ahead - step, 0)
    end
    now = wall + ahead
    -- Each node writes more often than once in CLOCK_GAP.
    back_at = math.abs(step) > CLOCK_GAP and now or tonumber(clock[3] or 0)
    unknown_until = tonumber(clock[4] or 0)
    if stands_still then
        -- What begins now gets a later time than that.
        unknown_until, now = now, now + 1
    end
    if WRITES then
        call('HSET', keys.clock, 'last', text(now), 'wall', text(wall), 'back_at', text(back_at),
            'unknown_until', text(unknown_until))
    end
end

-- Decodes JSON. Fails if it is not an object, has numbers that cannot be encoded again, or `fits` does not accept it.
local function decode_record(json, fits)
    local record = cjson.decode(json)
    for _, value in pairs(record) do
        assert(type(value) ~= 'number' or math.abs(value) < 1e15)
    end
    assert(fits(record))
    return record
end

-- Reads a record that is stored as JSON. Returns nothing if there is none, and `nil, true` if it cannot be read. A script
-- must not fail on such a record: what it has written before would stay.
local function decode(json, fits)
    if not json then
        return
    end
    local is_readable, record = pcall(decode_record, json, fits)
    if is_readable then
        return record
    end
    return nil, true
end

-- Reads a string. Returns '' for a value of another type, which decode rejects.
local function get(key)
    local value = redis.pcall('GET', key)
    return type(value) == 'table' and '' or value
end

local function are(type_name, ...)
    for i = 1, select('#', ...) do
        if type((select(i, ...))) ~= type_name then
            return false
        end
    end
    return true
end

local function is_optional(type_name, value)
    return value == nil or type(value) == type_name
end

-- An id or the hash of a number.
local function is_hex(value)
    return type(value) == 'string' and #value == 32 and not value:find('%X')
end

local function fits_attempt(attempt)
    if not is_hex(attempt.id) or not are('string', attempt.generation, attempt.sequence) then
        return false
    elseif attempt.outcome == nil then
        return is_hex(attempt.number_hash) and is_hex(attempt.line_hash) and is_hex(attempt.owner)
            and are('number', attempt.begun, attempt.deadline)
    end
    return are('string', attempt.outcome) and are('number', attempt.ended, attempt.ended_at)
        and (attempt.number_hash == nil or is_hex(attempt.number_hash))
        and is_optional('number', attempt.begun) and is_optional('number', attempt.deadline)
end

-- Returns an attempt; or `nil, true` if it cannot be read.
local function read_attempt(sequence)
    return decode(sequence and get(keys.attempt(sequence)), function(attempt)
        return attempt.sequence == sequence and fits_attempt(attempt)
    end)
end

local function write_attempt(attempt)
    call('SET', keys.attempt(attempt.sequence), cjson.encode(attempt))
end

-- Reads the attempt of an id and a generation.
local function find_attempt(key)
    return read_attempt(call('HGET', keys.id(key.id), key.generation))
end

-- S6: the attempt that answers for an id.
local function latest_attempt(id)
    return read_attempt(call('HGET', keys.id(id), 'latest'))
end

local function set_latest(attempt)
    call('HSET', keys.id(attempt.id), 'latest', attempt.sequence)
end

local function insert_attempt(attempt)
    attempt.sequence = text(call('INCR', keys.sequence))
    write_attempt(attempt)
    call('HSET', keys.id(attempt.id), attempt.generation, attempt.sequence)
end

-- S9: renews the lease of an owner.
local function renew_lease(owner)
    call('ZADD', keys.owners, text(now), owner)
end

-- S8: releases the number of an attempt.
local function release_number(attempt)
    if attempt.number_hash and call('GET', keys.ringing(attempt.number_hash)) == attempt.sequence then
        call('DEL', keys.ringing(attempt.number_hash))
    end
end

-- S14: the recorded number keys. Numbers from before keys were recorded were hashed without one.
local function number_keys_in_use()
    local fields, used = call('HGETALL', keys.number_keys), {}
    for i = 1, #fields, 2 do
        -- If its time cannot be read, the key is in use all the same.
        used[fields[i]] = tonumber(fields[i + 1]) or 0
    end
    if #fields == 0 and (call('EXISTS', keys.sequence) == 1 or call('EXISTS', keys.blocks) == 1) then
        used.none = 0
    end
    return used
end

-- Returns the fingerprint of a key in use that the process lacks, if there is one.
local function missing_number_key(used, known)
    local is_known = {}
    for _, hashed in ipairs(known) do
        is_known[hashed.fingerprint] = true
    end
    for fingerprint in pairs(used) do
        if not is_known[fingerprint] then
            return fingerprint
        end
    end
end

local function record_key_use(used, fingerprint)
    -- It is not known when numbers were last hashed without a key, so assume that it was now.
    if used.none == 0 then
        call('HSET', keys.number_keys, 'none', text(now))
    end
    if (used[fingerprint] or 0) + KEY_USE_INTERVAL <= now then
        call('HSET', keys.number_keys, fingerprint, text(now))
    end
end

-- S15: returns the fingerprint of the pepper of the PINs, if it is another one than this.
local function other_pepper(pepper)
    local used = call('HLEN', keys.pins) > 0 and call('GET', keys.pepper)
    return used and used ~= pepper and used
end

local function add_pin(pin)
    call('HSET', keys.pins, pin.number_hash, cjson.encode(pin))
    call('HINCRBY', keys.pin_number_keys, pin.key_fingerprint, 1)
end

local function fits_pin(pin)
    return is_hex(pin.number_hash) and are('string', pin.key_fingerprint, pin.hash)
        and are('number', pin.guesses, pin.forgiven)
        and is_optional('number', pin.locked_until) and is_optional('number', pin.locked_by)
end

-- Returns the PIN of a number; or `nil, true` if it cannot be read.
local function pin_of(number)
    return decode(call('HGET', keys.pins, number), fits_pin)
end

-- Removes the PIN of a number, also one that cannot be read. Returns the same as `pin_of`.
local function remove_pin(number)
    local pin, is_unreadable = pin_of(number)
    call('HDEL', keys.pins, number)
    if pin and call('HINCRBY', keys.pin_number_keys, pin.key_fingerprint, -1) <= 0 then
        call('HDEL', keys.pin_number_keys, pin.key_fingerprint)
    end
    return pin, is_unreadable
end

local function fits_block(block)
    return are('number', block.since_at) and is_optional('number', block.until_at)
end

-- Returns the block in a field of the block list; or `nil, true` if it cannot be read.
local function block_of(field)
    return decode(call('HGET', keys.blocks, field), fits_block)
end

-- Returns whether a block ended at least `ago` milliseconds ago.
local function has_expired(block, ago)
    return block.until_at and block.until_at + (ago or 0) <= wall
end
