-- Writes an invalidation down. KEYS[1] is the hash of the namespace: `origin`, `edition`, and the edition of each
-- scope. ARGV: the least edition, the scope, an origin for a new hash, how many scopes are remembered.
local hash, least, scope = KEYS[1], ARGV[1], ARGV[2]

-- Editions stay decimal text: a number of Lua is exact only up to 2^53.
local function less(a, b)
  return #a < #b or (#a == #b and a < b)
end

redis.call('HSETNX', hash, 'origin', ARGV[3])
redis.call('HINCRBY', hash, 'edition', 1)
local edition = redis.call('HGET', hash, 'edition')
if less(edition, least) then
  edition = least
  redis.call('HSET', hash, 'edition', edition)
end

if scope == '*' then
  -- It covers every scope before.
  local origin = redis.call('HGET', hash, 'origin')
  redis.call('DEL', hash)
  redis.call('HSET', hash, 'origin', origin, 'edition', edition)
end
redis.call('HSET', hash, scope, edition)

-- Beside the scopes there are the origin, the edition and the one of everything.
if redis.call('HLEN', hash) > tonumber(ARGV[4]) + 3 then
  local fields = redis.call('HGETALL', hash)
  local scopes = {}
  for i = 1, #fields, 2 do
    local kind = string.sub(fields[i], 1, 1)
    if kind == '#' or kind == '^' then
      scopes[#scopes + 1] = { fields[i], fields[i + 1] }
    end
  end
  table.sort(scopes, function(a, b) return less(a[2], b[2]) end)
  local half = math.ceil(#scopes / 2)
  for i = 1, half do
    redis.call('HDEL', hash, scopes[i][1])
  end
  redis.call('HSET', hash, '*', scopes[half][2])
end
return edition
