-- Deletes an endpoint; a tombstone stays in its place.
-- KEYS: directory, endpoints, changes, meta, tombstones, history. ARGV: dataset, endpoint id, tombstone, nonce, length of the list of
-- changes and of the history, now in ms, tombstone TTL in ms.
if redis.call('HGET', KEYS[4], 'dataset') ~= ARGV[1] then return 'dataset' end
local field = 'e:' .. ARGV[2]
local current = redis.call('HGET', KEYS[1], field)
if not current then return 'absent' end
current = cjson.decode(current)
if current.deletedAt then return 'absent' end
if type(current.uid) == 'string' then redis.call('HDEL', KEYS[1], 'u:' .. current.uid) end
local counter = move_on(KEYS[1], KEYS[6], ARGV[4], ARGV[5])
redis.call('HSET', KEYS[1], field, ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('ZADD', KEYS[3], counter, ARGV[2])
local surplus = redis.call('ZPOPMIN', KEYS[3], math.max(redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[5]), 0))
if #surplus > 0 then redis.call('HSET', KEYS[1], 'floor', surplus[#surplus]) end
-- Tombstones that outlived every delivery go, some with each deletion.
redis.call('ZADD', KEYS[5], ARGV[6], ARGV[2])
local old = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', tonumber(ARGV[6]) - tonumber(ARGV[7]), 'LIMIT', 0, 100)
for _, id in ipairs(old) do
  redis.call('HDEL', KEYS[1], 'e:' .. id)
  redis.call('ZREM', KEYS[5], id)
end
return 'done'
