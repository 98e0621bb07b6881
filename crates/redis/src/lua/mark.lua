-- Moves a marker on, never back. KEYS: marker. ARGV: the marker's new bytes, TTL in s.
local current = redis.call('GET', KEYS[1])
if current and string.byte(current, 1) >= string.byte(ARGV[1], 1) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
