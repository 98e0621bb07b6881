-- Creates or replaces an endpoint.
-- KEYS: directory, endpoints, changes, meta, history. ARGV: dataset, endpoint id, record, expected revision (0: new), uid or '', nonce,
-- length of the list of changes, and of the history.
if redis.call('HGET', KEYS[4], 'dataset') ~= ARGV[1] then return 'dataset' end
if redis.call('HEXISTS', KEYS[1], 'app') == 0 then return 'noapp' end
local field = 'e:' .. ARGV[2]
local revision, old = 0, ''
local current = redis.call('HGET', KEYS[1], field)
if current then
  current = cjson.decode(current)
  if current.deletedAt then return 'conflict' end
  revision = current.revision
  if type(current.uid) == 'string' then old = current.uid end
end
if revision ~= tonumber(ARGV[4]) then return 'conflict' end
local uid = ARGV[5]
if uid ~= '' then
  local owner = redis.call('HGET', KEYS[1], 'u:' .. uid)
  if owner and owner ~= ARGV[2] then return 'uid' end
end
if uid ~= old then
  if old ~= '' then redis.call('HDEL', KEYS[1], 'u:' .. old) end
  if uid ~= '' then redis.call('HSET', KEYS[1], 'u:' .. uid, ARGV[2]) end
end
local counter = move_on(KEYS[1], KEYS[5], ARGV[6], ARGV[7])
redis.call('HSET', KEYS[1], field, ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[2])
redis.call('ZADD', KEYS[3], counter, ARGV[2])
local surplus = redis.call('ZPOPMIN', KEYS[3], math.max(redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[7]), 0))
if #surplus > 0 then redis.call('HSET', KEYS[1], 'floor', surplus[#surplus]) end
return tostring(revision + 1)
