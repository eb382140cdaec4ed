-- S12: counts calls for the limits. It is put between common.lua and the scripts that need it.

local function refused_by(limit, after)
    return {'limit', limit, text(after)}
end

-- Returns the time until one more call is admitted, or nil if one is admitted now. Pending calls count until their
-- deadline.
local function wait(counted, limit, window)
    if call('ZCOUNT', counted, '(' .. text(now - window), '+inf') >= limit then
        local index = text(-limit)
        return call('ZRANGE', counted, index, index, 'WITHSCORES')[2] + window - now
    end
end

-- Removes up to 100 entries that are older than the window: more than one call adds, and few enough not to delay
-- others.
local function remove_old(counted, window)
    local old = math.min(call('ZCOUNT', counted, '-inf', text(now - window)), 100)
    if old > 0 then
        call('ZREMRANGEBYRANK', counted, '0', text(old - 1))
    end
end

local function has_passed(bucket)
    return (bucket + 1) * DAY_BUCKET + DAY <= now
end

-- Returns the sum of the buckets of a day, the buckets by their number, and how many cannot be read.
local function count_day(counted)
    local fields, sum, buckets, unreadable = call('HGETALL', counted), 0, {}, 0
    for i = 1, #fields, 2 do
        local bucket, calls = tonumber(fields[i]), tonumber(fields[i + 1])
        if not bucket or not calls then
            unreadable = unreadable + 1
        elseif not has_passed(bucket) then
            buckets[bucket] = calls
            sum = sum + calls
        end
    end
    return sum, buckets, unreadable
end

-- As `wait`, for a day. Without a limit, `limit` is nil. Returns `nil, true` if the calls cannot be counted.
local function wait_day(counted, limit)
    if not counted or not limit then
        return
    end
    -- Far from the limit, all buckets together are few enough, even with those that have passed and are not removed yet.
    local at_most = 0
    for _, calls in ipairs(call('HVALS', counted)) do
        -- More calls than any limit, if it cannot be read.
        at_most = at_most + (tonumber(calls) or math.huge)
    end
    if at_most < limit then
        return
    end
    local sum, buckets, unreadable = count_day(counted)
    if unreadable > 0 then
        return nil, true
    end
    if sum < limit then
        return
    end
    local numbers = {}
    for bucket in pairs(buckets) do
        numbers[#numbers + 1] = bucket
    end
    table.sort(numbers)
    for _, bucket in ipairs(numbers) do
        sum = sum - buckets[bucket]
        if sum < limit then
            return (bucket + 1) * DAY_BUCKET + DAY - now
        end
    end
end

local function add_to_day(counted)
    local bucket = text(math.floor(now / DAY_BUCKET))
    -- It fails if the bucket cannot be read, which `wait_day` has checked if there is a limit.
    if redis.pcall('HINCRBY', counted, bucket, 1) == 1 then
        for _, field in ipairs(call('HKEYS', counted)) do
            local bucket = tonumber(field)
            if bucket and has_passed(bucket) then
                call('HDEL', counted, field)
            end
        end
    end
    call('PEXPIRE', counted, text(COUNTER_TTL))
end

local function subtract_from_day(counted, begun)
    local bucket = text(math.floor(begun / DAY_BUCKET))
    local left = redis.pcall('HINCRBY', counted, bucket, -1)
    if type(left) == 'number' and left <= 0 then
        call('HDEL', counted, bucket)
    end
end

local function add_to_window(counted, attempt, window)
    remove_old(counted, window)
    call('ZADD', counted, text(now), attempt.sequence)
    call('PEXPIRE', counted, text(COUNTER_TTL))
end

-- Counts an attempt that begins.
local function count(attempt)
    add_to_window(keys.number(attempt.number_hash), attempt, DAY)
    add_to_window(keys.line(attempt.line_hash), attempt, MINUTE)
    add_to_window(keys.minute, attempt, MINUTE)
    call('ZADD', keys.pending, text(attempt.deadline), attempt.sequence)
    local pending = keys.pending_line(attempt.line_hash)
    remove_old(pending, 0)
    call('ZADD', pending, text(attempt.deadline), attempt.sequence)
    call('PEXPIRE', pending, text(COUNTER_TTL))
    add_to_day(keys.day)
    if attempt.country then
        add_to_day(keys.country(attempt.country))
        call('SADD', keys.countries, attempt.country)
    end
end

-- Subtracts an attempt that was withdrawn; it has ended.
local function subtract(attempt)
    call('ZREM', keys.number(attempt.number_hash), attempt.sequence)
    call('ZREM', keys.line(attempt.line_hash), attempt.sequence)
    call('ZREM', keys.minute, attempt.sequence)
    subtract_from_day(keys.day, attempt.begun)
    if attempt.country then
        subtract_from_day(keys.country(attempt.country), attempt.begun)
    end
end
