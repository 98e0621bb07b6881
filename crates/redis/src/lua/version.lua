-- Before each script that changes what an application owns.
-- Moves the application on to its next version, which the history tells from then on; the version's counter.
local function move_on(directory, history, nonce, kept)
  local before = redis.call('HGET', directory, 'v') or '0.'
  -- What a program wrote that keeps no history is not in it: then it begins anew.
  if not redis.call('ZSCORE', history, before) then redis.call('DEL', history) end
  local counter = tonumber(string.match(before, '^(%d+)')) + 1
  local version = counter .. '.' .. nonce
  redis.call('HSET', directory, 'v', version)
  redis.call('ZADD', history, counter, version)
  redis.call('ZREMRANGEBYRANK', history, 0, -kept - 1)
  return counter
end
