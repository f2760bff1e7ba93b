-- Notes that a node is there, and says who else is, and which buckets wait for nodes, where the node does not know it yet.
--
-- KEYS: the members.
-- ARGV: node, epoch, name, forget_after, leaving, roster_age, the version of the roster that the node has ('' for none);
--       then bucket and incarnation for each that the node has seen waiting.
-- Answers {now, version} where that is what the node has, and otherwise {now, version, roster}: nodes, nodes that left,
--       and buckets with their incarnations; words between spaces, lists between bars.
--
-- A hash: `n:` and a node is "epoch beat name"; `g:` and a node that left is when it did; `b:` and a bucket is "time
-- incarnation"; `roster` is what is told, by `version`, as of `made`.

local node, epoch, forget_after, leaves = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4]), ARGV[5] == '1'
local roster_age, knows = tonumber(ARGV[6]), ARGV[7]
local now = clock()
local is = redis.call('HMGET', KEYS[1], 'n:' .. node, 'g:' .. node, 'version', 'made')
local is_here, had_left, version = is[1], is[2], is[3]

local is_changed = not version
if not is_here or tonumber(string.match(is_here, '^%d+')) <= epoch then
  if leaves then
    redis.call('HDEL', KEYS[1], 'n:' .. node)
    redis.call('HSET', KEYS[1], 'g:' .. node, int(now))
    is_changed = is_changed or is_here or not had_left
  else
    redis.call('HSET', KEYS[1], 'n:' .. node, int(epoch) .. ' ' .. int(now) .. ' ' .. ARGV[3])
    if had_left then redis.call('HDEL', KEYS[1], 'g:' .. node) end
    is_changed = is_changed or had_left or not is_here
  end
end
for i = 8, #ARGV, 2 do
  local before = string.match(redis.call('HGET', KEYS[1], 'b:' .. ARGV[i]) or '', '^%d+ (.*)$')
  redis.call('HSET', KEYS[1], 'b:' .. ARGV[i], int(now) .. ' ' .. ARGV[i + 1])
  is_changed = is_changed or before ~= ARGV[i + 1]
end
redis.call('PEXPIRE', KEYS[1], int(forget_after + 86400000))

-- Drops who has not beaten for long, and makes the roster anew.
local function made()
  local lists, before = { n = {}, g = {}, b = {} }, nil
  local fields = redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    local kind, name = string.match(fields[i], '^([ngb]):(%x+)$')
    local text = fields[i + 1]
    if fields[i] == 'roster' then before = text end
    if kind then
      local at = string.match(text, kind == 'n' and '^%d+ (%d+)' or '^%d+')
      if max(now - tonumber(at), 0) >= forget_after then
        redis.call('HDEL', KEYS[1], fields[i])
      else
        local list = lists[kind]
        list[#list + 1] = kind == 'b' and name .. ' ' .. string.match(text, '^%d+ (.*)$') or name
      end
    end
  end
  for _, list in pairs(lists) do
    table.sort(list)
  end
  local roster = table.concat(lists.n, ' ') .. '|' .. table.concat(lists.g, ' ') .. '|' .. table.concat(lists.b, ' ')
  redis.call('HSET', KEYS[1], 'made', int(now))
  if roster ~= before or not version then
    version = int(version and number(version) + 1 or now)
    redis.call('HSET', KEYS[1], 'version', version, 'roster', roster)
  end
  return roster
end

local age, roster = now - number(is[4]), nil
if is_changed or age < 0 or age >= roster_age then
  roster = made()
end
local name = string.sub(server_run(), 1, 16) .. '-' .. version
if name == knows then return { now, name } end
return { now, name, roster or redis.call('HGET', KEYS[1], 'roster') }
