-- The same as limits.grant, in one step of the server's and by its clock.
-- KEYS[1]: the model's meter, a hash: requests, tokens, at, and a field for each holder.
-- ARGV: holder, held, back, rest, width or '', parked,
--       seconds a request, seconds a token, max_in_flight or '', ahead, lease, unknown, costs ...
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local me = 'h:' .. ARGV[1]
local held, back, rest = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local a_request, a_token = tonumber(ARGV[7]), tonumber(ARGV[8])
local most, ahead, lease = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])

local found = redis.call('HGETALL', KEYS[1])
local requests, tokens = now + tonumber(ARGV[12]), 0
-- A clock that was ahead has gone back since: what it said is as much too late.
local back_by = math.max(0, tonumber(redis.call('HGET', KEYS[1], 'at') or 0) - now)
local taken, hungry = held, 0
for i = 1, #found, 2 do
  local name, value = found[i], found[i + 1]
  if name == 'requests' then
    requests = tonumber(value) - back_by
  elseif name == 'tokens' then
    tokens = tonumber(value) - back_by
  elseif name ~= me and name ~= 'at' then
    local theirs, waits, till, rest_of_it = string.match(value, '^(%S+) (%S+) (%S+) (.*)')
    if tonumber(till) - back_by > now then
      if back_by > 0 then
        redis.call('HSET', KEYS[1], name,
          string.format('%s %s %.6f %s', theirs, waits, tonumber(till) - back_by, rest_of_it))
      end
      taken, hungry = taken + tonumber(theirs), hungry + tonumber(waits)
    else
      redis.call('HDEL', KEYS[1], name)
    end
  end
end
local room = math.huge
if most then
  room = math.max(0, math.min(most - taken, math.ceil(most / (1 + hungry)) - held))
end
if rest > 0 then requests = math.max(requests, now + rest) end
tokens = tokens - back * a_token

local moments, wait = {}, 0
for i = 13, #ARGV do
  local moment = math.max(now, requests, tokens)
  if #moments >= room then break end
  if moment > now + ahead then
    wait = moment - now - ahead
    break
  end
  moments[#moments + 1] = string.format('%.6f', moment - now)
  requests, tokens = moment + a_request, moment + tonumber(ARGV[i]) * a_token
end
held = held + #moments
local left = #moments < #ARGV - 12
-- Written with every digit: Lua's own would round a moment to a tenth of a millisecond.
redis.call('HSET', KEYS[1], 'requests', string.format('%.6f', requests),
  'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
local parked = tonumber(ARGV[6])
if held > 0 or left or ARGV[5] ~= '' or parked > 0 then
  local till = parked > 0 and now + parked or 0
  redis.call('HSET', KEYS[1], me, string.format('%d %d %.6f %s %.6f', held, left and 1 or 0,
    now + lease, ARGV[5] == '' and '-' or ARGV[5], till))
else
  redis.call('HDEL', KEYS[1], me)
end
redis.call('EXPIRE', KEYS[1], 3600)
return { string.format('%.6f', wait), hungry > 0 and 1 or 0, moments }
