-- Replaces a gate if it still is what it was. KEYS: the gates. ARGV: endpoint, what it was ('' for none), what it becomes ('' for none).
-- What is there instead, or 'done'.
local current = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if current ~= ARGV[2] then return 'is:' .. current end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 'done'
