-- Writes journal entries of one application. States merge: a lower rank never overwrites a higher one. Repeating changes nothing.
-- KEYS: the application's dead letters, then the others in any order.
-- ARGV: retention and list TTL in s; then a string per entry, in which numbers are big-endian and texts follow their length in four
-- bytes:
--   a kind; the places in KEYS, two bytes each, of the message's hash, the two lists it belongs to, its endpoint's standings (of a
--   message, the volumes of its day), and the counts of its hour; and then, by kind,
--   M: list member, record, number of deliveries or '' while not routed, the count and the volume it adds to
--   A: list member, field and record of the attempt, the count it adds to, then a state
--   E: a state
-- A state is: rank in eight bytes, ended and dead (0 or 1) in one each; field, text, the standing it adds to, dead letter or '', the
-- count a dead letter adds to, the hour of the message's day.
local HEAD, MESSAGE = '>c1I2I2I2I2I2', '>I4c0I4c0I4c0I4c0I4c0'
local ATTEMPT, STATE = '>I4c0I4c0I4c0I4c0', '>I8BBI4c0I4c0I4c0I4c0I4c0I4c0'
-- A publisher that makes up types by the thousand is not counted by them.
local VOLUMES_MOST = 50000

local retention, ttl = ARGV[1], ARGV[2]
-- What goes into each list: one command a list, however many entries there are.
local lists = {}
-- What is added to each counter: fields of a hash.
local counters = {}
-- Fields of the hashes of volumes.
local lengths = {}

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

local function has_room(volumes)
  lengths[volumes] = lengths[volumes] or redis.call('HLEN', volumes)
  return lengths[volumes] < VOLUMES_MOST
end

local function write_message(entry, at, message, messages, volumes, stats)
  local member, record, n, counted, volume = struct.unpack(MESSAGE, entry, at)
  list(messages, member)
  if n == '' then
    redis.call('HSETNX', message, 'm', record)
    return
  end
  local known = redis.call('HMGET', message, 't', 'd', 'x', 'n')
  if not known[4] then
    count(stats, counted, 1)
    if has_room(volumes) then count(volumes, volume, 1) end
  end
  -- What was made forgotten stays so.
  if known[3] then
    redis.call('HSET', message, 'n', n)
  else
    redis.call('HSET', message, 'm', record, 'n', n)
  end
  keep(message, tonumber(n), tonumber(known[1] or 0), tonumber(known[2] or 0), false)
end

-- Writes a state, unless it is stale, and the attempt it goes with, if there is one and it is not there. Whether it was not.
local function write_state(entry, at, message, standings, stats, attempt, record)
  local rank, ended, dead, field, text, stands, letter, died, hour = struct.unpack(STATE, entry, at)
  -- Everything that is to be known of the message in one command.
  local known = redis.call('HMGET', message, field, 'n', 't', 'd', attempt or field)
  local is_new = attempt and not known[5]
  local fields = is_new and { attempt, record } or {}
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
    count(standings, stands, 1)
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
  return is_new
end

local function write_attempt(entry, at, message, to_endpoint, of_app, standings, stats)
  local member, attempt, record, counted, rest = struct.unpack(ATTEMPT, entry, at)
  -- The first record of an attempt stays.
  if write_state(entry, rest, message, standings, stats, attempt, record) then
    list(to_endpoint, member)
    list(of_app, member)
    count(stats, counted, 1)
  end
end

for i = 3, #ARGV do
  local entry = ARGV[i]
  local kind, message, one, other, standings, stats, at = struct.unpack(HEAD, entry)
  message, standings, stats = KEYS[message], KEYS[standings], KEYS[stats]
  if kind == 'M' then
    write_message(entry, at, message, KEYS[one], standings, stats)
  elseif kind == 'A' then
    write_attempt(entry, at, message, KEYS[one], KEYS[other], standings, stats)
  else
    write_state(entry, at, message, standings, stats)
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
return #ARGV - 2
