/**
 * The steps that must be atomic or bounded. A key of a wrong type or size is somebody's damage: it counts as absent, and
 * the next commit replaces it, so that its owner can always repair a partition and nobody else is harmed by it.
 */

/** A partition with more fields than this is not transferred at all. */
export const maxFields = 50_000;
/** Approximate length of a log; who is further behind takes a snapshot. */
export const maxLogEntries = 1000;

/**
 * KEYS head, records, log, buckets. ARGV: 1 whether a head is expected, 2 the expected head, 3 the new head, 4 snapshot,
 * 5 whether there is a delta, 6 the delta, 7 length of the log, 8 channel, 9 hint, 10 largest head, 11 whether there are
 * buckets, 12 number of records, then per record and per bucket: key, `=` or `-`, value.
 * Answers {1}, or {0, head or false} when the head was another one. The head is set first: a full server refuses a
 * script only before its first write, and only a command that may take memory.
 */
export const commitScript = `
local function drop(key, kind)
  local t = redis.call('TYPE', key).ok
  if t ~= kind and t ~= 'none' then redis.call('DEL', key) end
end
local function put(key, at)
  if ARGV[at + 1] == '=' then redis.call('HSET', key, ARGV[at], ARGV[at + 2])
  else redis.call('HDEL', key, ARGV[at]) end
end
local head = false
if redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('STRLEN', KEYS[1]) <= tonumber(ARGV[10]) then
  head = redis.call('GET', KEYS[1])
end
if ARGV[1] == '1' then
  if head ~= ARGV[2] then return {0, head} end
elseif head then
  return {0, head}
end
redis.call('SET', KEYS[1], ARGV[3])
if ARGV[4] == '1' then
  redis.call('DEL', KEYS[2], KEYS[3])
else
  drop(KEYS[2], 'hash')
  drop(KEYS[3], 'stream')
end
if ARGV[4] == '1' or ARGV[11] ~= '1' then redis.call('DEL', KEYS[4]) else drop(KEYS[4], 'hash') end
local buckets = 13 + 3 * tonumber(ARGV[12])
for i = 13, buckets - 1, 3 do put(KEYS[2], i) end
for i = buckets, #ARGV, 3 do put(KEYS[4], i) end
if ARGV[5] == '1' and ARGV[4] ~= '1' then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[7], '*', 'd', ARGV[6])
end
redis.call('PUBLISH', ARGV[8], ARGV[9])
return {1}
`;

/**
 * Functions of the scripts that read. What is too large is not even copied, as that alone would hold up everybody else:
 * the weight that the server tells includes its own overhead, so that it decides only beyond it. A server that will not
 * tell goes without.
 */
const reading = `
local function small(key, most)
  if redis.call('TYPE', key).ok ~= 'string' or redis.call('STRLEN', key) > tonumber(most) then return false end
  return redis.call('GET', key)
end
local function bounded(list, key, most)
  local total = 0
  for i = 1, #list do
    if list[i] then total = total + #list[i] end
    if total > tonumber(most) then
      return redis.error_reply('TOOLARGE ' .. key .. ' has more than ' .. most .. ' bytes')
    end
  end
  return list
end
local function hash(command, key, fields, bytes)
  if redis.call('TYPE', key).ok ~= 'hash' then return {} end
  local count = redis.call('HLEN', key)
  if count > tonumber(fields) then
    return redis.error_reply('TOOLARGE ' .. key .. ' has more than ' .. fields .. ' fields')
  end
  local weight = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', 0)
  if type(weight) == 'number' and weight > tonumber(bytes) * 1.25 + 256 * count then
    return redis.error_reply('TOOLARGE ' .. key .. ' has more than ' .. bytes .. ' bytes')
  end
  return bounded(redis.call(command, key), key, bytes)
end
local function newest(key)
  if redis.call('TYPE', key).ok ~= 'stream' then return false end
  local entry = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  return entry and entry[1] or false
end
`;

/** KEYS head, records, log. ARGV: largest head, most fields, most bytes. Answers {head, flat fields and values, last id}. */
export const snapshotScript: string = `${reading}
local records = hash('HGETALL', KEYS[2], ARGV[2], ARGV[3])
if records.err then return records end
return {small(KEYS[1], ARGV[1]), records, newest(KEYS[3])}
`;

/** KEYS head, records, log, buckets. ARGV as above. Answers {head, flat buckets and digests, record keys, last id}. */
export const indexScript: string = `${reading}
local keys = hash('HKEYS', KEYS[2], ARGV[2], ARGV[3])
if keys.err then return keys end
local buckets = hash('HGETALL', KEYS[4], 256, ARGV[3])
if buckets.err then buckets = {} end
return {small(KEYS[1], ARGV[1]), buckets, keys, newest(KEYS[3])}
`;

/** KEYS records. ARGV: most bytes, then fields. Answers their values. */
export const recordsScript = `
local values, total = {}, 0
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return values end
for i = 2, #ARGV do
  total = total + redis.call('HSTRLEN', KEYS[1], ARGV[i])
  if total > tonumber(ARGV[1]) then
    return redis.error_reply('TOOLARGE ' .. KEYS[1] .. ' has more than ' .. ARGV[1] .. ' bytes')
  end
  values[i - 1] = redis.call('HGET', KEYS[1], ARGV[i])
end
return values
`;

/** KEYS strings. ARGV: largest. Answers the values, false for those that are absent or larger. */
export const stringsScript: string = `${reading}
local values = {}
for i = 1, #KEYS do values[i] = small(KEYS[i], ARGV[1]) end
return values
`;

/** KEYS head, records, log, of which none needs to be there. Fails as the first command of the scripts that may not run. */
export const trialScript = `
local tries = {
  {'TYPE', KEYS[1]}, {'STRLEN', KEYS[1]}, {'GET', KEYS[1]},
  {'HLEN', KEYS[2]}, {'HKEYS', KEYS[2]}, {'HGETALL', KEYS[2]}, {'HSTRLEN', KEYS[2], 'x'}, {'HGET', KEYS[2], 'x'},
  {'XRANGE', KEYS[3], '-', '+', 'COUNT', 1}, {'XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1},
}
for i = 1, #tries do
  local answer = redis.pcall(unpack(tries[i]))
  if type(answer) == 'table' and answer.err then
    return redis.error_reply('NOPERM ' .. tries[i][1] .. ': ' .. answer.err)
  end
end
return 1
`;

/** KEYS log. ARGV: first id, most entries, most bytes. Answers {id, delta} pairs; fewer when they are large. */
export const deltasScript = `
if redis.call('TYPE', KEYS[1]).ok ~= 'stream' then return {} end
local from, most, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local entries, total = {}, 0
-- A few at a time: one that is too large must not bring all others with it.
while #entries < most do
  local found = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', math.min(most - #entries, 16))
  for i = 1, #found do
    local delta = found[i][2][2] or ''
    if #delta > limit then delta = '' end
    total = total + #delta
    if total > limit and #entries > 0 then return entries end
    entries[#entries + 1] = {found[i][1], delta}
  end
  if #found < 16 then break end
  from = '(' .. found[#found][1]
end
return entries
`;
