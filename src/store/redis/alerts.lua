-- S19: adds, claims, ends and sweeps alerts. ARGV[1] is the operation.

local operation = ARGV[1]

local function fits_alert(alert)
    return are('string', alert.id, alert.destination, alert.about) and are('number', alert.added, alert.failures)
end

-- Returns an alert; or `nil, true` if it cannot be read.
local function read_alert(id)
    return decode(call('HGET', keys.alerts, id), function(alert)
        return alert.id == id and fits_alert(alert)
    end)
end

local function write_alert(alert)
    call('HSET', keys.alerts, alert.id, cjson.encode(alert))
end

local function subject(alert)
    return alert.destination .. ':' .. alert.about
end

local function queue(alert)
    return alert.urgent and keys.alerts_urgent(alert.destination) or keys.alerts_due(alert.destination)
end

local function set_due(alert, at)
    call('ZADD', queue(alert), text(at), alert.id)
end

local function remove_alert(id)
    local alert = read_alert(id)
    if alert and call('HGET', keys.alert_subjects, subject(alert)) == id then
        call('HDEL', keys.alert_subjects, subject(alert))
    end
    call('HDEL', keys.alerts, id)
    call('ZREM', keys.alerts_ended, id)
end

local function end_alert(alert)
    alert.ended, alert.claimed_by = now, nil
    call('ZREM', queue(alert), alert.id)
    call('ZREM', keys.alerts_waiting, alert.id)
    write_alert(alert)
    call('ZADD', keys.alerts_ended, text(now), alert.id)
end

-- ARGV[2]: the alert as JSON.
if operation == 'add' then
    local alert = cjson.decode(ARGV[2])
    local earlier = call('HGET', keys.alert_subjects, subject(alert))
    earlier = earlier and read_alert(earlier)
    if earlier and earlier.added + REPEAT_WINDOW > now then
        return {'repeated'}
    end
    local urgent, others = keys.alerts_urgent(alert.destination), keys.alerts_due(alert.destination)
    if call('ZCARD', urgent) + call('ZCARD', others) >= MAX_WAITING_ALERTS
        or call('ZCARD', keys.alerts_waiting) >= MAX_WAITING_ALERTS_TOTAL then
        return {'full'}
    end
    alert.added, alert.failures = now, 0
    write_alert(alert)
    call('HSET', keys.alert_subjects, subject(alert), alert.id)
    call('ZADD', keys.alerts_waiting, text(now), alert.id)
    set_due(alert, now)
    return {'new'}
end

-- ARGV[2]: the owner; ARGV[3]: maximum number of alerts for a destination; ARGV[4] and so on: the destinations. Returns
-- the alerts as JSON.
if operation == 'claim' then
    local claimed = {}
    for i = 4, #ARGV do
        local left = tonumber(ARGV[3])
        for _, from in ipairs({keys.alerts_urgent(ARGV[i]), keys.alerts_due(ARGV[i])}) do
            while left > 0 do
                local id = call('ZRANGEBYSCORE', from, '-inf', text(now), 'LIMIT', 0, 1)[1]
                if not id then
                    break
                end
                local alert, is_unreadable = read_alert(id)
                if is_unreadable then
                    -- A newer version may read it. The sweep removes it when it has waited for too long.
                    call('ZADD', from, text(now + ALERT_LEASE), id)
                elseif alert then
                    alert.claimed_by = ARGV[2]
                    write_alert(alert)
                    set_due(alert, now + ALERT_LEASE)
                    claimed[#claimed + 1] = cjson.encode(alert)
                    left = left - 1
                else
                    -- The server evicted it, or an administrator removed it.
                    call('ZREM', from, id)
                    call('ZREM', keys.alerts_waiting, id)
                end
            end
        end
    end
    return claimed
end

-- ARGV[2]: the owner; ARGV[3]: the id; ARGV[4]: the result; ARGV[5]: why it failed; ARGV[6]: the pause in ms. Returns the
-- result if it was recorded.
if operation == 'delivery' then
    local owner, result = ARGV[2], ARGV[4]
    local alert = read_alert(ARGV[3])
    if not alert or alert.claimed_by ~= owner then
        return {}
    end
    alert.claimed_by = nil
    if result == 'failed' or result == 'given_up' then
        alert.failures, alert.error = alert.failures + 1, ARGV[5]
    end
    if result == 'delivered' or result == 'given_up' then
        alert.delivered_at = result == 'delivered' and wall or nil
        end_alert(alert)
        local excess = call('ZCARD', keys.alerts_ended) - MAX_ENDED_ALERTS
        if excess > 0 then
            for _, id in ipairs(call('ZRANGE', keys.alerts_ended, 0, excess - 1)) do
                remove_alert(id)
            end
        end
    else
        write_alert(alert)
        set_due(alert, now + (result == 'failed' and tonumber(ARGV[6]) or 0))
    end
    return {result}
end

-- ARGV[2]: the error of an alert that waited for too long, if no delivery was tried. It works in a server whose memory is
-- full: it removes before it writes, and after a removal Redis lets a script write.
if operation == 'sweep' then
    for _, id in ipairs(call('ZRANGEBYSCORE', keys.alerts_ended, '-inf', text(now - ENDED_ALERT_RETENTION))) do
        remove_alert(id)
    end
    for _, id in ipairs(call('ZRANGEBYSCORE', keys.alerts_waiting, '-inf', text(now - MAX_ALERT_WAIT))) do
        local alert = read_alert(id)
        if alert then
            alert.error = alert.error or ARGV[2]
            end_alert(alert)
        else
            call('ZREM', keys.alerts_waiting, id)
            call('HDEL', keys.alerts, id)
        end
    end
    return {}
end
