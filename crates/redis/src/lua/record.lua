-- Writes journal entries of one application. States merge: a lower rank never overwrites a higher one. Repeating changes nothing.
-- KEYS: the application's dead letters; then per entry the message's hash, the two lists it belongs to, its endpoint's standings (of a
-- message, the volumes of its day), and the counts of its hour.
-- ARGV: retention and list TTL in s; then per entry its kind and
--   M: list member, record, number of deliveries or '' while not routed, the count and the volume it adds to
--   A: list member, field and record of the attempt, the count it adds to, then a state
--   E: a state
-- A state is: field, rank, text, ended (0 or 1), dead (0 or 1), dead letter or '', the count a dead letter adds to, the hour of the
-- message's day.
local retention, ttl = ARGV[1], ARGV[2]
local a = 3
-- What goes into each list: one command a list, however many entries there are.
local lists = {}
-- What is added to each counter: a pair of hash and field.
local counters = {}

local function count(key, field, by)
  local fields = counters[key]
  if not fields then
    fields = {}
    counters[key] = fields
  end
  fields[field] = (fields[field] or 0) + by
end

-- How a delivery of this state stands.
local function standing(text)
  local attempt, outcome = string.match(text, '^%d+|%d|%d|%d+|(%d+)|(%a+)')
  if outcome == 'delivered' then return 'success' end
  if outcome == 'dead' then return 'fail' end
  if outcome == 'discarded' then return 'canceled' end
  return attempt == '0' and 'sending' or 'pending'
end

local function list(key, member)
  local members = lists[key]
  if not members then
    members = {}
    lists[key] = members
  end
  members[#members + 1] = 0
  members[#members + 1] = member
end

-- Kept as long as anything of it can still happen, or is dead; the retention begins with the last end.
local function keep(message, n, t, d, reopened)
  if n and t >= n and d == 0 then
    redis.call('EXPIRE', message, retention)
  elseif reopened then
    redis.call('PERSIST', message)
  end
end

-- Writes the state that is next in ARGV, unless it is stale.
local function state(message, standings, stats)
  local fields = {}
  local field, rank, text = ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 2]
  local ended, dead, letter = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), ARGV[a + 5]
  local died, hour = ARGV[a + 6], ARGV[a + 7]
  a = a + 8
  local known = redis.call('HMGET', message, field, 'n', 't', 'd')
  local old, n, t, d = known[1], tonumber(known[2]), tonumber(known[3] or 0), tonumber(known[4] or 0)
  local old_ended, old_dead = 0, 0
  local stale = false
  if old then
    local old_rank, was_ended, was_dead = string.match(old, '^(%d+)|(%d)|(%d)|')
    stale = tonumber(old_rank) >= rank
    old_ended, old_dead = tonumber(was_ended), tonumber(was_dead)
  end
  if not stale then
    fields[#fields + 1], fields[#fields + 2] = field, text
    if old then count(standings, hour .. ':' .. standing(old), -1) end
    count(standings, hour .. ':' .. standing(text), 1)
    if ended ~= old_ended then
      t = t + ended - old_ended
      fields[#fields + 1], fields[#fields + 2] = 't', t
    end
    if dead ~= old_dead then
      d = d + dead - old_dead
      fields[#fields + 1], fields[#fields + 2] = 'd', d
    end
    -- The list of dead letters follows the state.
    local kept = 'l' .. string.sub(field, 2)
    if old_dead == 1 then
      local was = redis.call('HGET', message, kept)
      if was then redis.call('ZREM', KEYS[1], was) end
      if dead == 0 then redis.call('HDEL', message, kept) end
    end
    if dead == 1 then
      redis.call('ZADD', KEYS[1], 0, letter)
      count(stats, died, 1)
      fields[#fields + 1], fields[#fields + 2] = kept, letter
    end
  end
  if #fields > 0 then redis.call('HSET', message, unpack(fields)) end
  keep(message, n, t, d, ended < old_ended or dead > old_dead)
end

for i = 2, #KEYS, 5 do
  local message, kind = KEYS[i], ARGV[a]
  a = a + 1
  if kind == 'M' then
    list(KEYS[i + 1], ARGV[a])
    if ARGV[a + 2] == '' then
      redis.call('HSETNX', message, 'm', ARGV[a + 1])
    else
      local counts = redis.call('HMGET', message, 't', 'd', 'x', 'n')
      if not counts[4] then
        count(KEYS[i + 4], ARGV[a + 3], 1)
        -- A publisher that makes up types by the thousand is not counted by them.
        if redis.call('HLEN', KEYS[i + 3]) < 50000 then count(KEYS[i + 3], ARGV[a + 4], 1) end
      end
      -- What was made forgotten stays so.
      if counts[3] then
        redis.call('HSET', message, 'n', ARGV[a + 2])
      else
        redis.call('HSET', message, 'm', ARGV[a + 1], 'n', ARGV[a + 2])
      end
      keep(message, tonumber(ARGV[a + 2]), tonumber(counts[1] or 0), tonumber(counts[2] or 0), false)
    end
    a = a + 5
  elseif kind == 'A' then
    -- The first record of an attempt stays.
    if redis.call('HSETNX', message, ARGV[a + 1], ARGV[a + 2]) == 1 then
      list(KEYS[i + 1], ARGV[a])
      list(KEYS[i + 2], ARGV[a])
      count(KEYS[i + 4], ARGV[a + 3], 1)
    end
    a = a + 4
    state(message, KEYS[i + 3], KEYS[i + 4])
  else
    state(message, KEYS[i + 3], KEYS[i + 4])
  end
end

for key, members in pairs(lists) do
  redis.call('ZADD', key, unpack(members))
  redis.call('EXPIRE', key, ttl, 'NX')
end
for key, fields in pairs(counters) do
  for field, by in pairs(fields) do
    if by ~= 0 then redis.call('HINCRBY', key, field, by) end
  end
  redis.call('EXPIRE', key, ttl, 'NX')
end
return (#KEYS - 1) / 5
