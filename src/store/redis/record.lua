-- Records what happened. ARGV: the updates. Answers with the attempts of `ended` whose end locked their number.

local function add_step(kept, step)
    local steps = key('s', kept.sequence)
    for _, there in ipairs(call('LRANGE', steps, 0, -1)) do
        if there == step then
            return
        end
    end
    call('RPUSH', steps, step)
end

local changes, lockouts = {}, {}

function changes.step(update, kept)
    if not kept then
        return
    end
    add_step(kept, update.step)
    local name = update.name
    if name == 'placed' or name == 'ringing' or name == 'answered' then
        kept[name] = kept[name] or update.at
    end
    if update.reference then
        kept.backend, kept.reference = update.backend, update.reference
        -- The end of an attempt does not wait for what happened before it to be recorded.
        if not kept.outcome then
            kept.codes = update.codes
        end
    elseif name == 'backend_refused' and not kept.reference then
        kept.backend = update.backend
    end
    keep(kept)
end

function changes.ended(update, kept)
    finish(kept, update.owner, update)
    -- Also if it had ended so before: the answer may have been lost.
    if kept and kept.owner == update.owner and kept.outcome == update.outcome and kept.locked_until then
        lockouts[#lockouts + 1] = cjson.encode(kept)
    end
end

function changes.released(_, kept)
    if kept then
        release(kept)
    end
end

function changes.refused(update, kept)
    if kept then
        if finish(kept, kept.owner, update) then
            subtract(kept)
        end
        return
    end
    local row = update.row
    row.ended_at = now
    local before = current(row.id)
    add(row)
    call('ZADD', key('ended'), text(now), row.sequence)
    if not before or before.outcome and (before.begun or 0) + update.waited <= now then
        call('HSET', key('i', row.id), 'current', row.sequence)
    end
end

for _, argument in ipairs(ARGV) do
    local update = cjson.decode(argument)
    changes[update.change](update, find(update))
end
return lockouts
