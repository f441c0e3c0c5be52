-- One use of one limit. A bucket that leaks: its level rises by what is used and falls with time.
-- KEYS: the limit. ARGV: what to do, amount, rate, token, full, tick.
-- Levels are in parts of a token: a token is `token` of them, and `rate` of them leak in a tick of `tick` microseconds.
-- Every number is whole and below 2^53, so that doubles hold it exactly.
-- Gives: whether it was allowed, the tokens that remain, and the microseconds until it is new or until to ask again.
local key, op = KEYS[1], ARGV[1]
local amount, rate, token, full, tick =
    tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

if op == 'reset' then
    redis.call('DEL', key)
    return {1, math.floor(full / token), 0}
end

local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / tick)
local seen, level = now, 0

local held = redis.call('GET', key)
if held then
    local s, l, t, k = string.match(held, '^(%d+) (%d+) (%d+) (%d+)$')
    if not s then
        return redis.error_reply('WRONGVALUE the key holds something else than a limit')
    end
    seen, level = tonumber(s), tonumber(l)
    -- The quota has changed: as many tokens are missing as before, rounded up.
    if tonumber(k) ~= tick then seen = math.ceil(seen * tonumber(k) / tick) end
    if tonumber(t) ~= token then level = math.min(9007199254740992, math.ceil(level / tonumber(t) * token)) end
    if seen <= now then
        -- A pause that empties any bucket would not fit when it is multiplied.
        if (now - seen) > 9007199254740992 / rate then
            level = 0
        else
            level = math.max(0, level - (now - seen) * rate)
        end
        seen = now
    end
    -- Otherwise the clock went back, and nothing leaks until it is where it was.
end

-- The ticks in which so much leaks. A quotient that was rounded to a whole number is put right.
local function ticks(parts)
    local ticks = math.ceil(parts / rate)
    if ticks * rate < parts then ticks = ticks + 1 end
    return ticks
end

-- The microseconds from now to the tick that is so many after what was seen.
local function micros_until(count)
    return (seen + count) * tick - micros
end

local function keep()
    if level <= 0 then
        redis.call('DEL', key)
    else
        local ttl = math.ceil(micros_until(ticks(level)) / 1000) + 1
        local value = string.format('%.0f %.0f %.0f %.0f', seen, level, token, tick)
        redis.call('SET', key, value, 'PX', string.format('%.0f', ttl))
    end
end

if op == 'check' or op == 'peek' then
    if level + amount > full then
        return {0, 0, math.max(1, micros_until(ticks(level + amount - full)))}
    end
    level = level + amount
    if op == 'check' then keep() end
elseif op == 'refund' then
    level = math.max(0, level - amount)
    keep()
elseif op == 'drain' then
    level = math.max(level, amount)
    keep()
else
    return redis.error_reply('ERR no such operation on a limit')
end
return {1, math.max(0, math.floor((full - level) / token)), level > 0 and math.max(0, micros_until(ticks(level))) or 0}
