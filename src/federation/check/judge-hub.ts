import type { HubCheck } from '../../model/status.ts';
import type { HubFacts } from './hub-facts.ts';

/** EVALSHA_RO and per-key permissions came with it. */
const oldestVersion = 7;
const slowP99Ms = 50;
/** Certificates are issued 5 min into the past at most: a clock that is further off is about to hurt. */
const warnSkewMs = 1000;
const maxSkewMs = 60_000;
/** Part of the memory. */
const nearlyFull = 0.9;

type Verdict = Pick<HubCheck, 'level' | 'detail'> & Partial<Pick<HubCheck, 'fix'>>;

function ok(detail: string): Verdict {
  return { level: 'ok', detail };
}

function warn(detail: string, fix: string): Verdict {
  return { level: 'warning', detail, fix };
}

function fail(detail: string, fix: string): Verdict {
  return { level: 'failed', detail, fix };
}

/** What the facts mean for a hub. `acl`: the command that prints what this user should be. */
export function judgeHub(facts: HubFacts, acl: string): readonly HubCheck[] {
  const verdicts: readonly (readonly [HubCheck['check'], Verdict])[] = [
    ['version', version(facts)],
    ['role', role(facts)],
    ['eviction', eviction(facts)],
    ['memory', memory(facts)],
    ['persistence', persistence(facts)],
    ['replication', replication(facts)],
    ['latency', latency(facts)],
    ['clock', clock(facts)],
    ['permissions', permissions(facts, acl)],
  ];
  return verdicts.map(([check, verdict]) => ({ check, ...verdict }));
}

function version({ version: text }: HubFacts): Verdict {
  const major = Number.parseInt(text, 10);
  if (major >= oldestVersion) return ok(`Redis ${text}`);
  return fail(`Redis ${text} is older than ${oldestVersion}.0`, `Use Redis ${oldestVersion}.0 or newer`);
}

function role({ role: is }: HubFacts): Verdict {
  if (is === 'slave') return fail('this is a read-only replica', 'Name its master in hub.url');
  return is === 'master'
    ? ok('master')
    : warn('the server does not say what it is', 'Allow this user the command INFO');
}

function eviction({ evictionPolicy, maxMemory }: HubFacts): Verdict {
  if (evictionPolicy === 'noeviction') return ok('noeviction');
  const fix = 'CONFIG SET maxmemory-policy noeviction, and the same in redis.conf';
  // Without a limit nothing is thrown away yet.
  if (maxMemory === 0) return warn(`policy '${evictionPolicy}', without a memory limit`, fix);
  return fail(`policy '${evictionPolicy}' throws away records when memory runs out`, fix);
}

function memory({ usedMemory, maxMemory }: HubFacts): Verdict {
  const used = `${Math.round(usedMemory / 1e6)} MB used`;
  if (maxMemory === 0) return ok(`${used}, without a limit`);
  const text = `${used} of ${Math.round(maxMemory / 1e6)} MB`;
  return usedMemory < nearlyFull * maxMemory ? ok(text) : warn(text, 'Raise maxmemory: a full hub refuses changes');
}

function persistence({ appendOnly, savesSnapshots, lastSaveOk }: HubFacts): Verdict {
  if (!lastSaveOk)
    return fail('the last save to disk failed: the server may refuse writes', 'See the log of the server');
  if (appendOnly) return ok('append-only file');
  if (savesSnapshots) return ok('snapshots');
  return warn('nothing is saved: after a restart every cluster writes its records again', 'CONFIG SET appendonly yes');
}

function replication({ connectedReplicas, masterLink }: HubFacts): Verdict {
  if (masterLink === 'down') return warn('the link to its master is down', 'See the log of the server');
  return ok(connectedReplicas === 0 ? 'no replica' : `${connectedReplicas} connected`);
}

function latency({ latencyP50Ms: p50, latencyP99Ms: p99 }: HubFacts): Verdict {
  const text = `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`;
  return p99 <= slowP99Ms ? ok(text) : warn(text, 'Changes reach other clusters later by several times as much');
}

function clock({ skewMs }: HubFacts): Verdict {
  const text = `${Math.abs(Math.round(skewMs))} ms ${skewMs < 0 ? 'behind' : 'ahead of'} this machine`;
  if (Math.abs(skewMs) <= warnSkewMs) return ok(text);
  const fix = 'Synchronise the clocks (NTP): certificates are judged by the clock';
  return Math.abs(skewMs) <= maxSkewMs ? warn(text, fix) : fail(text, fix);
}

function permissions({ user, permissions: may }: HubFacts, acl: string): Verdict {
  const who = user === undefined ? 'this user' : `user '${user}'`;
  const needs = [
    ['read other partitions', may.readOthers],
    ['write its own partition', may.writeOwn ?? 'ok'],
    ['publish hints', may.hints],
  ] as const;
  const missing = needs.filter(([, answer]) => answer !== 'ok');
  const fix = `Print what it needs with: ${acl}`;
  if (missing.length > 0) {
    return fail(missing.map(([what, answer]) => `${who} cannot ${what}: ${answer}`).join('; '), fix);
  }
  // Redis answers so to whoever breaks a rule of its ACL.
  if (!may.writeForeign.startsWith('NOPERM')) return warn(`${who} may write the partitions of other clusters`, fix);
  if (may.writeOwn === undefined)
    return ok(`${who} reads all; its own partition was not tried: name it with --cluster`);
  return ok(`${who} reads all and writes its own partition only`);
}
