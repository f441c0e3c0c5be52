-- A token bucket in whole numbers. Its level is counted in units: a token is ARGV[3] of them, and a microsecond brings
-- ARGV[2]; the caller has made sure that every number here is below 2^53, so that Lua's doubles are exact.
--
-- KEYS[1]  the bucket: "level last", or nothing when it is full
-- ARGV[1]  units that are asked for; 0 only looks, less than 0 gives back
-- ARGV[2]  units that a microsecond brings
-- ARGV[3]  units that fill the bucket
--
-- Gives: 1 or 0 for yes or no, the units that are left, microseconds until the answer would be yes, until it is full.

local asked, rate, full = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local level, last = full, now
local kept = redis.call('GET', KEYS[1])
if kept then
    local kept_level, kept_last = string.match(kept, '^(%d+) (%d+)$')
    if not kept_level then
        return redis.error_reply('WRONGTYPE the key holds something that is no bucket')
    end
    level, last = math.min(tonumber(kept_level), full), tonumber(kept_last)
    -- A clock that went back brings nothing. One that went back by more than a full bucket's time was set anew, and what
    -- it says now counts from now on; otherwise the key would stand still for as long.
    local fills = math.ceil(full / rate)
    if now > last then
        if now - last >= fills then
            level = full
        else
            level = math.min(full, level + (now - last) * rate)
        end
        last = now
    elseif last - now > fills then
        last = now
    end
end

local yes = 1
if asked > level then
    yes = 0
elseif asked ~= 0 then
    level = math.min(full, level - asked)
end

local wait = 0
if yes == 0 then
    wait = math.ceil((asked - level) / rate) + (last - now)
end
local until_full = math.ceil((full - level) / rate) + (last - now)

-- A refusal and a look change nothing that time alone would not.
if yes == 1 and asked ~= 0 then
    if level >= full then
        redis.call('DEL', KEYS[1])
    else
        redis.call('SET', KEYS[1], string.format('%.0f %.0f', level, last), 'PX', math.ceil(until_full / 1000) + 1)
    end
end
return { yes, level, wait, until_full }
