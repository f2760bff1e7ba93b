-- Notes that a node is there, and says who else is, and which buckets wait for nodes.
--
-- KEYS: the members.
-- ARGV: node, epoch, name, forget_after, leaving; then bucket and incarnation for each that the node has seen waiting.
-- Answers {now, number of members, for each: node, epoch, beat, name, number of those that left, the node of each, then for
--       each bucket: bucket, incarnation}.
--
-- A hash: `n:` and a node is "epoch beat name"; `g:` and a node that left is when it did; `b:` and a bucket is "time
-- incarnation".

local function int(n)
  return string.format('%.0f', n)
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node, epoch, forget_after = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])

local field = 'n:' .. node
local known = redis.call('HGET', KEYS[1], field)
if not known or tonumber(string.match(known, '^%d+')) <= epoch then
  if ARGV[5] == '1' then
    redis.call('HDEL', KEYS[1], field)
    redis.call('HSET', KEYS[1], 'g:' .. node, int(now))
  else
    redis.call('HSET', KEYS[1], field, int(epoch) .. ' ' .. int(now) .. ' ' .. ARGV[3])
    redis.call('HDEL', KEYS[1], 'g:' .. node)
  end
end
for i = 6, #ARGV, 2 do
  redis.call('HSET', KEYS[1], 'b:' .. ARGV[i], int(now) .. ' ' .. ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], int(forget_after + 86400000))

local members, departed, lost = {}, {}, {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local kind, name = string.match(fields[i], '^([ngb]):(%x+)$')
  local text = fields[i + 1]
  if kind == 'n' then
    local its_epoch, beat, its_name = string.match(text, '^(%d+) (%d+) (.*)$')
    if math.max(now - beat, 0) < forget_after then
      for _, value in ipairs({ name, tonumber(its_epoch), tonumber(beat), its_name }) do
        members[#members + 1] = value
      end
    else
      redis.call('HDEL', KEYS[1], fields[i])
    end
  elseif kind == 'g' then
    if math.max(now - tonumber(text), 0) < forget_after then
      departed[#departed + 1] = name
    else
      redis.call('HDEL', KEYS[1], fields[i])
    end
  elseif kind == 'b' then
    local named, incarnation = string.match(text, '^(%d+) (.*)$')
    if math.max(now - named, 0) < forget_after then
      lost[#lost + 1] = tonumber(name)
      lost[#lost + 1] = incarnation
    else
      redis.call('HDEL', KEYS[1], fields[i])
    end
  end
end

local answer = { now, #members / 4 }
for _, value in ipairs(members) do
  answer[#answer + 1] = value
end
answer[#answer + 1] = #departed
for _, name in ipairs(departed) do
  answer[#answer + 1] = name
end
for _, value in ipairs(lost) do
  answer[#answer + 1] = value
end
return answer
