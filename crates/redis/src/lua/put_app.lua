-- Creates or replaces an application.
-- KEYS: directory, apps, uids, meta, history. ARGV: dataset, app id, record, expected revision (0: new), uid or '', nonce, length of
-- the history, leap of the names' counter.
if redis.call('HGET', KEYS[4], 'dataset') ~= ARGV[1] then return 'dataset' end
if redis.call('HEXISTS', KEYS[1], 'd') == 1 then return 'noapp' end
local revision = tonumber(redis.call('HGET', KEYS[1], 'rev') or '0')
if revision ~= tonumber(ARGV[4]) then return 'conflict' end
local uid, old = ARGV[5], redis.call('HGET', KEYS[1], 'uid') or ''
if uid ~= '' then
  local owner = redis.call('HGET', KEYS[3], uid)
  if owner and owner ~= ARGV[2] then return 'uid' end
end
if uid ~= old then
  if old ~= '' then redis.call('HDEL', KEYS[3], old) end
  if uid ~= '' then redis.call('HSET', KEYS[3], uid, ARGV[2]) end
  redis.call('HINCRBY', KEYS[4], 'names', ARGV[8])
end
local counter = move_on(KEYS[1], KEYS[5], ARGV[6], ARGV[7])
-- The whole application changed: no list of endpoint changes describes that.
redis.call('HSET', KEYS[1], 'app', ARGV[3], 'rev', revision + 1, 'uid', uid, 'floor', counter)
redis.call('ZADD', KEYS[2], 0, ARGV[2])
return tostring(revision + 1)
