-- Before each script that changes what an application owns.
-- Moves the application on to its next version, and writes that into the history. Returns the counter of the version.
local function move_on(directory, history, nonce, kept)
  local before = redis.call('HGET', directory, 'v') or '0.'
  -- A version that an older program wrote is not in the history: then the history begins anew.
  if not redis.call('ZSCORE', history, before) then redis.call('DEL', history) end
  local counter = tonumber(string.match(before, '^(%d+)')) + 1
  local version = counter .. '.' .. nonce
  redis.call('HSET', directory, 'v', version)
  redis.call('ZADD', history, counter, version)
  redis.call('ZREMRANGEBYRANK', history, 0, -kept - 1)
  return counter
end
