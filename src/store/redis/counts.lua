-- Counts calls for the limits. It is inserted between common.lua and the scripts that need it.

-- A day is counted in buckets of ten minutes. One counts until a day after its end: at most 145 do.
local BUCKET = 600000

-- The counters of a number are removed this long after its last call, in ms. The server removes them by its wall clock,
-- which may jump ahead when it is corrected after it was set back.
local UNUSED = 2 * DAY

local function limit(name, after)
    return {'limit', name, text(after)}
end

-- Returns the time until one more call is admitted, or nil if one is admitted now. Pending calls count until their
-- deadline.
local function wait(counted, most, within)
    if call('ZCOUNT', counted, '(' .. text(now - within), '+inf') >= most then
        local which = text(-most)
        return call('ZRANGE', counted, which, which, 'WITHSCORES')[2] + within - now
    end
end

-- Removes up to 100 entries that are older than the window: more than one call adds, and few enough not to delay
-- others.
local function remove_old(counted, within)
    local old = math.min(call('ZCOUNT', counted, '-inf', text(now - within)), 100)
    if old > 0 then
        call('ZREMRANGEBYRANK', counted, '0', text(old - 1))
    end
end

local function has_passed(bucket)
    return (bucket + 1) * BUCKET + DAY <= now
end

-- Returns the sum of the buckets of a day, and these by their number.
local function count_day(counted)
    local fields, sum, buckets = call('HGETALL', counted), 0, {}
    for i = 1, #fields, 2 do
        local bucket = tonumber(fields[i])
        if not has_passed(bucket) then
            buckets[bucket] = tonumber(fields[i + 1])
            sum = sum + buckets[bucket]
        end
    end
    return sum, buckets
end

-- As `wait`, for a day. Without a limit, `most` is nil.
local function wait_day(counted, most)
    if not most then
        return
    end
    -- Far from the limit, all buckets together are few enough, also those that have passed and are not removed yet.
    local at_most = 0
    for _, calls in ipairs(call('HVALS', counted)) do
        at_most = at_most + calls
    end
    if at_most < most then
        return
    end
    local sum, buckets = count_day(counted)
    if sum < most then
        return
    end
    local numbers = {}
    for bucket in pairs(buckets) do
        numbers[#numbers + 1] = bucket
    end
    table.sort(numbers)
    for _, bucket in ipairs(numbers) do
        sum = sum - buckets[bucket]
        if sum < most then
            return (bucket + 1) * BUCKET + DAY - now
        end
    end
end

local function count_in_day(counted)
    local bucket = text(math.floor(now / BUCKET))
    if call('HINCRBY', counted, bucket, 1) == 1 then
        for _, field in ipairs(call('HKEYS', counted)) do
            if has_passed(tonumber(field)) then
                call('HDEL', counted, field)
            end
        end
    end
    call('PEXPIRE', counted, text(UNUSED))
end

local function subtract_from_day(counted, begun)
    local bucket = text(math.floor(begun / BUCKET))
    if call('HINCRBY', counted, bucket, -1) <= 0 then
        call('HDEL', counted, bucket)
    end
end

local function count_within(counted, kept, within)
    remove_old(counted, within)
    call('ZADD', counted, text(now), kept.sequence)
    call('PEXPIRE', counted, text(UNUSED))
end

-- Counts an attempt that begins.
local function count(kept)
    count_within(key('n', kept.number), kept, DAY)
    count_within(key('l', kept.line), kept, MINUTE)
    count_within(key('minute'), kept, MINUTE)
    call('ZADD', key('pending'), text(kept.deadline), kept.sequence)
    local pending = key('lp', kept.line)
    remove_old(pending, 0)
    call('ZADD', pending, text(kept.deadline), kept.sequence)
    call('PEXPIRE', pending, text(UNUSED))
    count_in_day(key('day'))
    if kept.country then
        count_in_day(key('c', kept.country))
        call('SADD', key('countries'), kept.country)
    end
end

-- Subtracts an attempt that was given up; it has ended.
local function subtract(kept)
    call('ZREM', key('n', kept.number), kept.sequence)
    call('ZREM', key('l', kept.line), kept.sequence)
    call('ZREM', key('minute'), kept.sequence)
    subtract_from_day(key('day'), kept.begun)
    if kept.country then
        subtract_from_day(key('c', kept.country), kept.begun)
    end
end
