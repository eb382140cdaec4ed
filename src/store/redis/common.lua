-- What the scripts share; it stands before each of them. All keys begin with KEYS[1], which ends with a colon: the same
-- hash tag for all sites, so that they lie in one slot of a cluster, and the name of the site.
--
--   clock          hash: `last`, the latest time that was given out, `wall`, what TIME said then, `back`, when the server
--                  was there again after nobody had heard of it, and `doubt`, when this clock has stood still: how
--                  long ago anything was before that nobody knows
--   sequence       the sequence of the last attempt; `first`: of the first one that may still be there
--   a:SEQUENCE     an attempt, as JSON; s:SEQUENCE: list: its steps, as JSON
--   i:ID           hash: the sequences of an id's attempts by generation, and of the current one: `current`
--   r:NUMBER       the sequence of the attempt that rings a number
--   n:NUMBER       sorted set: the attempts to a number within a day by the time when they began; l:LINE: those to a line
--                  within a minute; `minute`: all within a minute
--   pending        sorted set: pending attempts by deadline; d:OWNER: those that an owner drives; lp:LINE: those to a line
--   day            hash: how many attempts began in each ten minutes of a day; c:COUNTRY: those to a country
--   countries      set: the countries that have such a hash
--   f:NUMBER       the denials and the lock of a number, as JSON
--   moved:NUMBER   the hash by the current key of a number whose denials were moved from this hash, for a day
--   denied         sorted set: the numbers that have denials, by the time of the last one
--   ended          sorted set: ended attempts by the time of their end
--   owners         sorted set: owners by the time when they were last heard of
--   h:OWNER        what an owner took up last, as JSON
--   blocks         hash: blocks, as JSON: NUMBER is that of a number and all of its extensions, NUMBER:number that of exactly
--                  a number
--   pins           hash: PINs by number, as JSON; pin_keys: how many of them were hashed with each number key, by fingerprint
--   pepper         the fingerprint of the pepper of all PINs
--   alerts         hash: alerts by id, as JSON; alert_subjects: the last alert of each DESTINATION:SUBJECT
--   alerts_waiting sorted set: alerts that wait, by when they were added; alerts_ended: the others by the time of their end
--   alerts_urgent:DESTINATION  sorted set: those that wait for a destination and are urgent, by when they may be claimed;
--                  alerts_due:DESTINATION: the others that wait for it
--   number_keys    hash: the keys that numbers were hashed with, by fingerprint: when each was last used. `none`: no key
--
-- Times are in milliseconds. JSON has numbers of up to 14 digits; generations are text.

local call = redis.call
local MINUTE, DAY = 60000, 86400000

local function key(kind, name)
    return KEYS[1] .. kind .. (name and ':' .. name or '')
end

local function text(number)
    return string.format('%.0f', number)
end

local time = call('TIME')
local wall = time[1] * 1000 + math.floor(time[2] / 1000)
local now, back, doubt
do
    local clock = call('HMGET', key('clock'), 'last', 'wall', 'back', 'doubt')
    local last, before = tonumber(clock[1] or 0), tonumber(clock[2] or 0)
    -- A clock that was moved back goes on from where it was, and stands still while it is moved to where it had been.
    local ahead, step = last - before + math.max(before - wall, 0), wall - before
    local stands = step < -SILENCE or step > SILENCE and ahead > 0
    if step > SILENCE then
        ahead = math.max(ahead - step, 0)
    end
    now = wall + ahead
    -- Every node writes more often than that.
    back = math.abs(step) > SILENCE and now or tonumber(clock[3] or 0)
    doubt = tonumber(clock[4] or 0)
    if stands then
        -- What begins now does so later than that.
        doubt, now = now, now + 1
    end
    if WRITES then
        call('HSET', key('clock'), 'last', text(now), 'wall', text(wall), 'back', text(back), 'doubt', text(doubt))
    end
end

local function fetch(sequence)
    local kept = sequence and call('GET', key('a', sequence))
    return kept and cjson.decode(kept)
end

local function keep(kept)
    call('SET', key('a', kept.sequence), cjson.encode(kept))
end

local function find(attempt)
    return fetch(call('HGET', key('i', attempt.id), attempt.generation))
end

local function current(id)
    return fetch(call('HGET', key('i', id), 'current'))
end

local function add(kept)
    kept.sequence = text(call('INCR', key('sequence')))
    keep(kept)
    call('HSET', key('i', kept.id), kept.generation, kept.sequence)
end

local function hear_of(owner)
    call('ZADD', key('owners'), text(now), owner)
end

-- Gives an attempt's number free.
local function release(kept)
    if kept.number and call('GET', key('r', kept.number)) == kept.sequence then
        call('DEL', key('r', kept.number))
    end
end

-- The recorded number keys. Numbers from before keys were recorded were hashed without one.
local function number_keys()
    local fields, used = call('HGETALL', key('number_keys')), {}
    for i = 1, #fields, 2 do
        used[fields[i]] = tonumber(fields[i + 1])
    end
    if #fields == 0 and (call('EXISTS', key('sequence')) == 1 or call('EXISTS', key('blocks')) == 1) then
        used.none = 0
    end
    return used
end

-- Returns a key in use that the process does not have, if any.
local function unknown_key(used, known)
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

local function note_key(used, current)
    -- It is not known when numbers were last hashed without a key, so assume that it was now.
    if used.none == 0 then
        call('HSET', key('number_keys'), 'none', text(now))
    end
    if (used[current] or 0) + KEY_USE_NOTED_EVERY <= now then
        call('HSET', key('number_keys'), current, text(now))
    end
end

-- The fingerprint of the pepper of the PINs, if it is not this one.
local function other_pepper(pepper)
    local used = call('HLEN', key('pins')) > 0 and call('GET', key('pepper'))
    return used and used ~= pepper and used
end

local function add_pin(pin)
    call('HSET', key('pins'), pin.number, cjson.encode(pin))
    call('HINCRBY', key('pin_keys'), pin.fingerprint, 1)
end

local function remove_pin(number)
    local pin = call('HGET', key('pins'), number)
    pin = pin and cjson.decode(pin)
    if pin then
        call('HDEL', key('pins'), number)
        if call('HINCRBY', key('pin_keys'), pin.fingerprint, -1) <= 0 then
            call('HDEL', key('pin_keys'), pin.fingerprint)
        end
    end
    return pin
end

-- Did it end, so long ago?
local function has_expired(block, long)
    return block['until'] and block['until'] + (long or 0) <= wall
end

