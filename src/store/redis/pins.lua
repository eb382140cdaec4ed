-- S15: changes a PIN. ARGV[1] is the operation, ARGV[2] the hashes of the PIN's number as JSON. Returns the name of the
-- result, then its values. The rules are those of `Guesses` in ../pins.rs. A PIN that cannot be read can only be set anew or
-- removed.

local operation, hashes = ARGV[1], cjson.decode(ARGV[2])

local function find_pin()
    for _, number in ipairs(hashes) do
        local pin, is_unreadable = pin_of(number)
        if pin or is_unreadable then
            return pin, is_unreadable
        end
    end
end

local function write_pin(pin)
    call('HSET', keys.pins, pin.number_hash, cjson.encode(pin))
end

local function forgive_all(pin)
    pin.forgiven, pin.locked_until, pin.locked_by = pin.guesses, nil, nil
end

-- ARGV[3]: the PIN as JSON; ARGV[4]: the fingerprint of its pepper. The hashes have fingerprints, too.
if operation == 'set' then
    local pin, pepper = cjson.decode(ARGV[3]), ARGV[4]
    local used_pepper = other_pepper(pepper)
    if used_pepper then
        return {'pepper', used_pepper}
    end
    local used = number_keys_in_use()
    local missing = missing_number_key(used, hashes)
    if missing then
        return {'number_key', missing}
    end
    record_key_use(used, hashes[1].fingerprint)
    local guesses = 0
    for _, hashed in ipairs(hashes) do
        local replaced = remove_pin(hashed.number_hash)
        guesses = math.max(guesses, replaced and replaced.guesses or 0)
    end
    pin.guesses, pin.forgiven = guesses, guesses
    call('SET', keys.pepper, pepper)
    add_pin(pin)
    return {'set'}
end

if operation == 'remove' then
    local removed = false
    for _, number in ipairs(hashes) do
        local pin, was_unreadable = remove_pin(number)
        removed = removed or pin or was_unreadable
    end
    return {removed and 'removed' or 'not_set'}
end

local pin, is_unreadable = find_pin()
if is_unreadable then
    return {'unreadable'}
elseif not pin then
    return {'not_set'}
end

if operation == 'state' then
    if pin.locked_until and pin.locked_until > now then
        return {'locked', text(wall + pin.locked_until - now)}
    end
    return {'open'}
end

if operation == 'unlock' then
    forgive_all(pin)
    write_pin(pin)
    return {'unlocked'}
end

-- ARGV[3]: the fingerprint of the pepper; ARGV[4]: maximum failures; ARGV[5]: duration of a lock in ms.
if operation == 'guess' then
    local used_pepper, max_failures = other_pepper(ARGV[3]), tonumber(ARGV[4])
    if used_pepper then
        return {'pepper', used_pepper}
    end
    if pin.locked_until then
        if pin.locked_until > now then
            return {'locked', text(wall + pin.locked_until - now)}
        end
        forgive_all(pin)
    end
    local function has_reached_limit()
        return pin.guesses - pin.forgiven >= max_failures
    end
    local function lock()
        pin.locked_until, pin.locked_by = now + tonumber(ARGV[5]), pin.guesses
        write_pin(pin)
    end
    if has_reached_limit() then
        -- The limit was lowered since.
        lock()
        return {'locked', text(wall + pin.locked_until - now)}
    end
    pin.guesses = pin.guesses + 1
    if has_reached_limit() then
        lock()
    else
        write_pin(pin)
    end
    return {'compare', pin.hash, text(pin.guesses)}
end

-- ARGV[3]: the hash that was compared; ARGV[4]: the guess.
if operation == 'right' then
    local guess = tonumber(ARGV[4])
    if pin.hash ~= ARGV[3] then
        return {'not_set'}
    end
    if guess > pin.forgiven and not (pin.locked_by and pin.locked_by > guess) then
        pin.forgiven, pin.locked_until, pin.locked_by = guess, nil, nil
        write_pin(pin)
    end
    return {'right'}
end
