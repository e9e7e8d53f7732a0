import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { IsthmusError, messageOf } from '../../../model/error.ts';
import type { Clock } from '../../../model/ports/clock.ts';
import { authorityPartition, type Partition } from '../../../model/ports/hub.ts';
import type { HubFacts, HubPermissions } from '../../check/hub-facts.ts';
import { type HubKeys, hubKeys } from '../../hub-keys.ts';
import { connectRedis, endConnection, firstContact } from './connection.ts';
import { connectionOf, type RedisHubOptions } from './open-redis-hub.ts';
import { trialScript } from './scripts.ts';
import { hubError } from './errors.ts';

/** Round trips that are measured. */
const pings = 100;
/** A trace of a trial is gone after so long even if it could not be removed. */
const trialMs = 1000;

/**
 * Looks at a Redis server as a hub: what it is, how far away, and what this user may do, by trying. `own`: the partition
 * that should be writable.
 * @throws IsthmusError `unavailable`, `timeout` or `denied` when there is nothing to look at
 */
export async function inspectRedis(options: RedisHubOptions, own: Partition | undefined): Promise<HubFacts> {
  const { connection, prefix } = connectionOf(options);
  const client = connectRedis(connection, 'commands');
  let lastError: unknown;
  client.on('error', (error: unknown) => (lastError = error));
  try {
    await firstContact(client);
    if (client.status !== 'ready') throw lastError ?? new IsthmusError('unavailable', 'connection refused');
    const info = parseInfo(await client.info());
    const { p50, p99 } = await latency(client, options.clock);
    return {
      version: info('redis_version') ?? 'unknown',
      user: await whoAmI(client),
      role: roleOf(info('role')),
      connectedReplicas: Number(info('connected_slaves') ?? 0),
      masterLink: linkOf(info('master_link_status')),
      evictionPolicy: info('maxmemory_policy') ?? 'unknown',
      maxMemory: Number(info('maxmemory') ?? 0),
      usedMemory: Number(info('used_memory') ?? 0),
      appendOnly: info('aof_enabled') === '1',
      savesSnapshots: await savesSnapshots(client, info),
      lastSaveOk: info('rdb_last_bgsave_status') !== 'err' && info('aof_last_write_status') !== 'err',
      latencyP50Ms: p50,
      latencyP99Ms: p99,
      skewMs: await skew(client, options.clock),
      permissions: await tryPermissions(client, hubKeys(prefix), own),
    };
  } catch (thrown) {
    throw hubError(connection.address.name, 'look around', lastError ?? thrown);
  } finally {
    await endConnection(client, options.clock);
  }
}

/** `field:value` lines. */
function parseInfo(text: string): (field: string) => string | undefined {
  const fields = new Map(
    text.split('\r\n').flatMap((line): [string, string][] => {
      const colon = line.indexOf(':');
      return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 1)]];
    }),
  );
  return (field) => fields.get(field);
}

function roleOf(text: string | undefined): HubFacts['role'] {
  return text === 'master' || text === 'slave' ? text : 'unknown';
}

function linkOf(text: string | undefined): HubFacts['masterLink'] {
  return text === 'up' || text === 'down' ? text : undefined;
}

async function whoAmI(client: Redis): Promise<string | undefined> {
  const answer = await attempt(() => client.call('ACL', 'WHOAMI'));
  return answer.ok && typeof answer.value === 'string' ? answer.value : undefined;
}

/** A user of ours may not read the configuration: then a save that once was done has to do. */
async function savesSnapshots(client: Redis, info: (field: string) => string | undefined): Promise<boolean> {
  const answer = await attempt(() => client.call('CONFIG', 'GET', 'save'));
  if (answer.ok && Array.isArray(answer.value)) return answer.value[1] !== '';
  return Number(info('rdb_saves') ?? 0) > 0;
}

async function latency(client: Redis, clock: Clock): Promise<{ readonly p50: number; readonly p99: number }> {
  const times: number[] = [];
  for (let index = 0; index < pings; index += 1) {
    const from = clock.monotonic();
    await client.ping();
    times.push(clock.monotonic() - from);
  }
  times.sort((a, b) => a - b);
  const at = (part: number): number => times[Math.min(times.length - 1, Math.floor(part * times.length))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

/** The server's clock against the middle of the round trip that asked for it. */
async function skew(client: Redis, clock: Clock): Promise<number> {
  const before = clock.now();
  const [seconds, micros] = await client.time();
  return Number(seconds) * 1000 + Number(micros) / 1000 - (before + clock.now()) / 2;
}

/** Trials leave nothing behind, and touch no key that anybody reads. */
async function tryPermissions(client: Redis, keys: HubKeys, own: Partition | undefined): Promise<HubPermissions> {
  const name = `check-${randomBytes(6).toString('hex')}`;
  const write = async (partition: Partition): Promise<string> => {
    const key = keys.chain(partition, name);
    const words = await inWords(() => client.set(key, '1', 'PX', trialMs));
    if (words === 'ok') await attempt(() => client.del(key));
    return words;
  };
  return {
    readOthers: await inWords(() =>
      client.call('EVAL_RO', trialScript, 3, keys.head(name), keys.records(name), keys.log(name)),
    ),
    hints: await inWords(() => client.publish(keys.hints, name)),
    writeOwn: own === undefined ? undefined : await write(own),
    writeForeign: await write(own === authorityPartition ? name : authorityPartition),
  };
}

type Attempt = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly why: string };

async function attempt(command: () => Promise<unknown>): Promise<Attempt> {
  try {
    return { ok: true, value: await command() };
  } catch (thrown) {
    return { ok: false, why: messageOf(thrown).slice(0, 200) };
  }
}

async function inWords(command: () => Promise<unknown>): Promise<string> {
  const answer = await attempt(command);
  return answer.ok ? 'ok' : answer.why;
}
