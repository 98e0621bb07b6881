-- Writes journal entries of one application. States merge: a lower rank never overwrites a higher one. Repeating changes nothing.
-- KEYS: per entry the message's hash and the list it belongs to. ARGV: retention and list TTL in s; then per entry its kind and
--   M: list member, record, number of deliveries or '' while not routed
--   A: list member, field and record of the attempt, then a state
--   E: a state
-- A state is: field, rank, text, ended (0 or 1), dead (0 or 1).
local retention, ttl = ARGV[1], ARGV[2]
local a = 3

local function state(message)
  local field, rank, text = ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 2]
  local ended, dead = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  a = a + 5
  local old = redis.call('HGET', message, field)
  if old then
    local old_rank, old_ended, old_dead = string.match(old, '^(%d+)|(%d)|(%d)|')
    if tonumber(old_rank) >= rank then return end
    ended, dead = ended - tonumber(old_ended), dead - tonumber(old_dead)
  end
  redis.call('HSET', message, field, text)
  if ended ~= 0 then redis.call('HINCRBY', message, 't', ended) end
  if dead ~= 0 then redis.call('HINCRBY', message, 'd', dead) end
end

local function list(key, member)
  redis.call('ZADD', key, 0, member)
  redis.call('EXPIRE', key, ttl, 'NX')
end

for i = 1, #KEYS, 2 do
  local message, kind = KEYS[i], ARGV[a]
  a = a + 1
  if kind == 'M' then
    list(KEYS[i + 1], ARGV[a])
    if ARGV[a + 2] == '' then
      redis.call('HSETNX', message, 'm', ARGV[a + 1])
    else
      redis.call('HSET', message, 'm', ARGV[a + 1], 'n', ARGV[a + 2])
    end
    a = a + 3
  elseif kind == 'A' then
    list(KEYS[i + 1], ARGV[a])
    redis.call('HSET', message, ARGV[a + 1], ARGV[a + 2])
    a = a + 3
    state(message)
  else
    state(message)
  end
  -- Kept as long as anything of it can still happen, or is dead; the retention begins with the last end.
  local counts = redis.call('HMGET', message, 'n', 't', 'd')
  local n, t, d = tonumber(counts[1]), tonumber(counts[2] or 0), tonumber(counts[3] or 0)
  if n and t >= n and d == 0 then redis.call('EXPIRE', message, retention) else redis.call('PERSIST', message) end
end
return #KEYS / 2
