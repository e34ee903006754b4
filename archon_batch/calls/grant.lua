-- The same as rate_limits.grant_permits, in one atomic step on the server's clock.
-- KEYS[1]: the model's state, a hash: requests, tokens, at, and one field for each client.
-- ARGV: client id, in flight, refund, cooldown, adaptive limit or '', seconds the circuit stays open,
--       seconds per request, seconds per token, max_in_flight or '',
--       grant horizon, client lease, cold start delay, token cost of each waiting call ...
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local client = 'h:' .. ARGV[1]
local in_flight, refund, cooldown = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local per_request, per_token = tonumber(ARGV[7]), tonumber(ARGV[8])
local max_in_flight, horizon, lease = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])

local stored = redis.call('HGETALL', KEYS[1])
local requests, tokens = now + tonumber(ARGV[12]), 0
-- The clock was ahead and has gone back: shift the stored times by as much.
local shift = math.max(0, tonumber(redis.call('HGET', KEYS[1], 'at') or 0) - now)
local taken, waiting = in_flight, 0
for i = 1, #stored, 2 do
  local name, value = stored[i], stored[i + 1]
  if name == 'requests' then
    requests = tonumber(value) - shift
  elseif name == 'tokens' then
    tokens = tonumber(value) - shift
  elseif name ~= client and name ~= 'at' then
    local calls, waits, expires, rest = string.match(value, '^(%S+) (%S+) (%S+) (.*)')
    if tonumber(expires) - shift > now then
      if shift > 0 then
        redis.call('HSET', KEYS[1], name,
          string.format('%s %s %.6f %s', calls, waits, tonumber(expires) - shift, rest))
      end
      taken, waiting = taken + tonumber(calls), waiting + tonumber(waits)
    else
      redis.call('HDEL', KEYS[1], name)
    end
  end
end
local capacity = math.huge
if max_in_flight then
  local share = math.ceil(max_in_flight / (1 + waiting))
  capacity = math.max(0, math.min(max_in_flight - taken, share - in_flight))
end
if cooldown > 0 then requests = math.max(requests, now + cooldown) end
tokens = tokens - refund * per_token

local delays, ask_again_in = {}, 0
for i = 13, #ARGV do
  local send_at = math.max(now, requests, tokens)
  if #delays >= capacity then break end
  if send_at > now + horizon then
    ask_again_in = send_at - now - horizon
    break
  end
  delays[#delays + 1] = string.format('%.6f', send_at - now)
  requests, tokens = send_at + per_request, send_at + tonumber(ARGV[i]) * per_token
end
in_flight = in_flight + #delays
local still_waits = #delays < #ARGV - 12
-- Format explicitly: Lua's default precision rounds a time to 0.1 ms.
redis.call('HSET', KEYS[1], 'requests', string.format('%.6f', requests),
  'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
local open_for = tonumber(ARGV[6])
if in_flight > 0 or still_waits or ARGV[5] ~= '' or open_for > 0 then
  local open_until = open_for > 0 and now + open_for or 0
  redis.call('HSET', KEYS[1], client, string.format('%d %d %.6f %s %.6f', in_flight,
    still_waits and 1 or 0, now + lease, ARGV[5] == '' and '-' or ARGV[5], open_until))
else
  redis.call('HDEL', KEYS[1], client)
end
redis.call('EXPIRE', KEYS[1], 3600)
return { string.format('%.6f', ask_again_in), waiting > 0 and 1 or 0, delays }
