/**
 * The two steps that must be atomic. A key of a wrong type is somebody's damage: it counts as absent, and the next
 * commit replaces it, so that its owner can always repair a partition.
 */

/** A partition with more fields than this is not transferred at all. */
export const maxFields = 50_000;
/** Approximate length of a log; who is further behind takes a snapshot. */
export const maxLogEntries = 1000;

/**
 * KEYS head, records, log. ARGV: 1 whether a head is expected, 2 the expected head, 3 the new head, 4 snapshot, 5
 * whether there is a delta, 6 the delta, 7 length of the log, 8 channel, 9 hint, then per record: key, `=` or `-`, value.
 * Answers {1}, or {0, head or false} when the head was another one.
 */
export const commitScript = `
local function drop(key, kind)
  local t = redis.call('TYPE', key).ok
  if t ~= kind and t ~= 'none' then redis.call('DEL', key) end
end
local t = redis.call('TYPE', KEYS[1]).ok
local head = false
if t == 'string' then head = redis.call('GET', KEYS[1]) end
if ARGV[1] == '1' then
  if head ~= ARGV[2] then return {0, head} end
elseif head then
  return {0, head}
end
if ARGV[4] == '1' then
  redis.call('DEL', KEYS[2], KEYS[3])
else
  drop(KEYS[2], 'hash')
  drop(KEYS[3], 'stream')
end
for i = 10, #ARGV, 3 do
  if ARGV[i + 1] == '=' then redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
  else redis.call('HDEL', KEYS[2], ARGV[i]) end
end
redis.call('SET', KEYS[1], ARGV[3])
if ARGV[5] == '1' and ARGV[4] ~= '1' then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[7], '*', 'd', ARGV[6])
end
redis.call('PUBLISH', ARGV[8], ARGV[9])
return {1}
`;

/** KEYS head, records, log. ARGV: 1 most fields. Answers {head or false, flat fields and values, last id or false}. */
export const snapshotScript = `
local head, records, last = false, {}, false
if redis.call('TYPE', KEYS[1]).ok == 'string' then head = redis.call('GET', KEYS[1]) end
if redis.call('TYPE', KEYS[2]).ok == 'hash' then
  if redis.call('HLEN', KEYS[2]) > tonumber(ARGV[1]) then
    return redis.error_reply('TOOLARGE the partition has more than ' .. ARGV[1] .. ' records')
  end
  records = redis.call('HGETALL', KEYS[2])
end
if redis.call('TYPE', KEYS[3]).ok == 'stream' then
  local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
  if newest[1] then last = newest[1][1] end
end
return {head, records, last}
`;
