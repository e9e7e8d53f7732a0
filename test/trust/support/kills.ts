import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseClusterName, parseReplicaName } from '../../../src/model/names.ts';
import { systemClock } from '../../../src/runtime/io/clock.ts';
import { type Authority, initAuthority, openAuthority } from '../../../src/trust/io/authority.ts';
import { openClusterCa } from '../../../src/trust/io/cluster-ca.ts';
import { joinCluster } from '../../../src/trust/io/join.ts';
import { decodeJoinToken, encodeJoinToken } from '../../../src/wire/join-token.ts';
import { silent } from './environment.ts';
import { federationDomain } from './federation.ts';

const east = parseClusterName('east');
const replica = parseReplicaName('one');
const clock = systemClock;
const support = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

interface Told {
  readonly what: string;
  readonly token?: string;
  readonly id?: string;
}

/** Runs the process until it ends or is killed after write number `at`; what it told before. */
async function runUntil(
  at: number,
  dir: string,
): Promise<{ readonly killed: boolean; readonly told: readonly Told[] }> {
  const child = spawn(process.execPath, ['--import', support('fault.ts'), support('fault-process.ts'), dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, FAULT_AT: String(at) },
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const [status, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    child.once('close', (...ended) => resolve(ended));
  });
  assert.ok(signal === 'SIGKILL' || status === 0, `ended with ${status} ${signal}`);
  const told = text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Told);
  return { killed: signal === 'SIGKILL', told };
}

/** What was told must be so, and what was cut short must go on. */
async function check(authority: Authority, told: readonly Told[], dir: string): Promise<void> {
  assert.equal((await authority.journalState()).problem, undefined);
  const said = new Set(told.map(({ what }) => what));
  const token = told.find(({ what }) => what === 'token')?.token;
  const revoked = told.find(({ what }) => what === 'revoked')?.id;
  if (revoked !== undefined) assert.equal(authority.tokens().find(({ id }) => id === revoked)?.state, 'revoked');
  const member = authority.roster.current.clusters.get(east);
  if (said.has('joined')) assert.deepEqual(member?.exportable, ['shop/*']);
  if (said.has('labelled')) assert.deepEqual(member?.labels, { tier: 'gold' });
  if (said.has('suspended') && !said.has('active')) assert.ok(member?.state !== undefined);
  if (said.has('active')) assert.equal(member?.state, 'active');
  // Whoever was named by a certificate is in the roster, and the other way round.
  const live = (await authority.inventory(10)).filter(({ state }) => state === 'live');
  assert.deepEqual(
    member?.caKeyIds ?? [],
    live.map(({ keyId }) => keyId),
  );
  if (token === undefined || member?.state === 'suspended') return;
  const stateDir = join(dir, 'agent');
  const again = encodeJoinToken({ ...decodeJoinToken(token), addresses: [`127.0.0.1:${authority.port}`] });
  await joinCluster({ token: again, stateDir, replica, clock, log: silent }).catch((thrown: unknown) => {
    assert.match(String(thrown), /is replica one of cluster east already/);
  });
  const ca = await openClusterCa({ stateDir, clock, log: silent });
  const svid = ca.agentSvid.current;
  await ca.close();
  assert.ok(svid, 'the agent has an identity');
  assert.equal(authority.roster.current.clusters.get(east)?.caKeyIds.length, 1, 'and one intermediate, not two');
}

/**
 * Kills the process after write number `step / 2`, then that plus `step`, and so on until it comes to its end, and checks
 * each time what is left. How often it was killed.
 */
export async function killAtWrites(step: number): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-fault-'));
  try {
    const blank = join(dir, 'blank');
    const stateDir = join(blank, 'authority');
    await initAuthority({ stateDir, federationDomain, clock, scryptCost: { N: 1 << 12 } });
    for (let kills = 0; ; kills += 1) {
      const at = Math.ceil(step / 2) + kills * step;
      const site = join(dir, `at-${at}`);
      await cp(blank, site, { recursive: true });
      const { killed, told } = await runUntil(at, site);
      const listen = { host: '127.0.0.1', port: 0 };
      const authority = await openAuthority({ stateDir: join(site, 'authority'), listen, clock, log: silent });
      try {
        await check(authority, told, site);
      } finally {
        await authority.close();
      }
      await rm(site, { recursive: true });
      if (!killed) return kills;
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
