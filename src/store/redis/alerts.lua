-- Adds, claims, ends and sweeps alerts. ARGV[1] is the operation.

local task = ARGV[1]

local function fetch_alert(id)
    local alert = call('HGET', key('alerts'), id)
    return alert and cjson.decode(alert)
end

local function keep_alert(alert)
    call('HSET', key('alerts'), alert.id, cjson.encode(alert))
end

local function subject(alert)
    return alert.destination .. ':' .. alert.about
end

local function queue(alert)
    return key(alert.urgent and 'alerts_urgent' or 'alerts_due', alert.destination)
end

local function make_due(alert, at)
    call('ZADD', queue(alert), text(at), alert.id)
end

local function remove_alert(id)
    local alert = fetch_alert(id)
    if alert and call('HGET', key('alert_subjects'), subject(alert)) == id then
        call('HDEL', key('alert_subjects'), subject(alert))
    end
    call('HDEL', key('alerts'), id)
    call('ZREM', key('alerts_ended'), id)
end

local function finish_alert(alert)
    alert.ended, alert.claimed_by = now, nil
    call('ZREM', queue(alert), alert.id)
    call('ZREM', key('alerts_waiting'), alert.id)
    keep_alert(alert)
    call('ZADD', key('alerts_ended'), text(now), alert.id)
end

-- ARGV[2]: the alert as JSON.
if task == 'add' then
    local alert = cjson.decode(ARGV[2])
    local earlier = call('HGET', key('alert_subjects'), subject(alert))
    earlier = earlier and fetch_alert(earlier)
    if earlier and earlier.added + REPEATED_WITHIN > now then
        return {'repeated'}
    end
    local urgent, others = key('alerts_urgent', alert.destination), key('alerts_due', alert.destination)
    if call('ZCARD', urgent) + call('ZCARD', others) >= MAX_WAITING_ALERTS
        or call('ZCARD', key('alerts_waiting')) >= MAX_WAITING_IN_ALL then
        return {'full'}
    end
    alert.added, alert.failures = now, 0
    keep_alert(alert)
    call('HSET', key('alert_subjects'), subject(alert), alert.id)
    call('ZADD', key('alerts_waiting'), text(now), alert.id)
    make_due(alert, now)
    return {'new'}
end

-- ARGV[2]: the owner; ARGV[3]: maximum alerts for a destination; ARGV[4] and so on: the keys of the destinations. Returns the
-- alerts as JSON.
if task == 'claim' then
    local claimed = {}
    for i = 4, #ARGV do
        local left = tonumber(ARGV[3])
        for _, from in ipairs({key('alerts_urgent', ARGV[i]), key('alerts_due', ARGV[i])}) do
            while left > 0 do
                local id = call('ZRANGEBYSCORE', from, '-inf', text(now), 'LIMIT', 0, 1)[1]
                if not id then
                    break
                end
                local alert = fetch_alert(id)
                if alert then
                    alert.claimed_by = ARGV[2]
                    keep_alert(alert)
                    make_due(alert, now + ALERT_LEASE)
                    claimed[#claimed + 1] = cjson.encode(alert)
                    left = left - 1
                else
                    -- The server evicted it, or an administrator removed it.
                    call('ZREM', from, id)
                    call('ZREM', key('alerts_waiting'), id)
                end
            end
        end
    end
    return claimed
end

-- ARGV[2]: the owner; ARGV[3]: the id; ARGV[4]: the result; ARGV[5]: why it failed; ARGV[6]: the pause in ms. Returns the
-- result if it was recorded.
if task == 'tried' then
    local owner, result = ARGV[2], ARGV[4]
    local alert = fetch_alert(ARGV[3])
    if not alert or alert.claimed_by ~= owner then
        return {}
    end
    alert.claimed_by = nil
    if result == 'failed' or result == 'given_up' then
        alert.failures, alert.error = alert.failures + 1, ARGV[5]
    end
    if result == 'delivered' or result == 'given_up' then
        alert.delivered_at = result == 'delivered' and wall or nil
        finish_alert(alert)
        local excess = call('ZCARD', key('alerts_ended')) - MAX_ENDED_ALERTS
        if excess > 0 then
            for _, id in ipairs(call('ZRANGE', key('alerts_ended'), 0, excess - 1)) do
                remove_alert(id)
            end
        end
    else
        keep_alert(alert)
        make_due(alert, now + (result == 'failed' and tonumber(ARGV[6]) or 0))
    end
    return {result}
end

-- ARGV[2]: the error of an alert that waited for too long, if no delivery was tried. It works in a server whose memory is
-- full: it removes before it writes, and after a removal Redis lets a script write.
if task == 'sweep' then
    for _, id in ipairs(call('ZRANGEBYSCORE', key('alerts_ended'), '-inf', text(now - ALERT_LISTED))) do
        remove_alert(id)
    end
    for _, id in ipairs(call('ZRANGEBYSCORE', key('alerts_waiting'), '-inf', text(now - ALERT_KEPT))) do
        local alert = fetch_alert(id)
        if alert then
            alert.error = alert.error or ARGV[2]
            finish_alert(alert)
        else
            call('ZREM', key('alerts_waiting'), id)
        end
    end
    return {}
end
