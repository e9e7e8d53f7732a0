import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import { type Authority, initAuthority, openAuthority } from '../../src/trust/io/authority.ts';
import { openClusterCa } from '../../src/trust/io/cluster-ca.ts';
import { joinCluster } from '../../src/trust/io/join.ts';
import { decodeJoinToken, encodeJoinToken } from '../../src/wire/join-token.ts';
import { eventually, ShiftedClock, silent, temporaryDir } from './support/environment.ts';
import { federationDomain } from './support/federation.ts';

const east = parseClusterName('east');
const one = parseReplicaName('one');
const listen = { host: '127.0.0.1', port: 0 };
const dayMs = 86_400_000;
const cheap = { N: 1 << 12 };

async function newAuthority(
  t: TestContext,
  intermediateLifeMs: number = 60 * dayMs,
): Promise<{ authority: Authority; stateDir: string; clock: ShiftedClock }> {
  const clock = new ShiftedClock();
  const stateDir = join(await temporaryDir(t), 'authority');
  await initAuthority({ stateDir, federationDomain, clock, scryptCost: cheap });
  const authority = await openAuthority({ stateDir, listen, clock, log: silent, intermediateLifeMs });
  t.after(() => authority.close());
  return { authority, stateDir, clock };
}

test('join: an agent gets an identity of its own cluster and follows the roster', async (t) => {
  const { authority, clock } = await newAuthority(t);
  const stateDir = join(await temporaryDir(t), 'agent');
  const { token } = await authority.issueToken({ cluster: east });
  const joined = await joinCluster({ token, stateDir, replica: one, clock, log: silent });
  assert.equal(joined.cluster, 'east');
  assert.equal((await stat(join(stateDir, 'intermediates.json'))).mode & 0o777, 0o600);
  assert.ok(!(await readFile(join(stateDir, 'membership.json'), 'utf8')).includes('PRIVATE'));

  const ca = await openClusterCa({ stateDir, clock, log: silent });
  t.after(() => ca.close());
  const svid = ca.agentSvid.current;
  assert.equal(svid?.id, 'spiffe://east.mesh.example/isthmus/agent/one');
  assert.equal(ca.peerVerifier.verify(svid.chain).ok, true);
  await eventually('the roster stream is open', () => ca.status().authority.connected);

  const { token: second } = await authority.issueToken({ cluster: parseClusterName('west') });
  await joinCluster({ token: second, stateDir: join(stateDir, '..', 'west'), replica: one, clock, log: silent });
  await eventually('east hears of west', () => ca.trust.current?.roster.clusters.size === 2);
  assert.equal((await authority.journalState()).problem, undefined);
});

test('join: of 100 parallel redemptions exactly one succeeds', async (t) => {
  const { authority, clock } = await newAuthority(t);
  const dir = await temporaryDir(t);
  const { token } = await authority.issueToken({ cluster: east });
  const attempts = Array.from({ length: 100 }, (_, index) =>
    joinCluster({ token, stateDir: join(dir, `${index}`), replica: parseReplicaName(`r${index}`), clock, log: silent }),
  );
  const results = await Promise.allSettled(attempts);
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  const codes = new Set(results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : [])));
  assert.deepEqual([...codes], ['unauthenticated']);
  assert.deepEqual(authority.status().clusters, [{ name: 'east', state: 'active', keys: 1 }]);
});

test('join: refuses another root, an expired token, an existing identity and a taken replica name', async (t) => {
  const { authority, clock } = await newAuthority(t);
  const dir = await temporaryDir(t);
  const attempt = (token: string, name: string): Promise<unknown> =>
    joinCluster({ token, stateDir: join(dir, name), replica: one, clock, log: silent });
  const { token } = await authority.issueToken({ cluster: east });
  const decoded = decodeJoinToken(token);
  await assert.rejects(
    attempt(encodeJoinToken({ ...decoded, rootSha256: '0'.repeat(64) }), 'pin'),
    /does not present the root/,
  );
  const west = parseClusterName('west');
  await assert.rejects(attempt(encodeJoinToken({ ...decoded, cluster: west }), 'west'), { code: 'denied' });
  await attempt(token, 'good');
  const { token: second } = await authority.issueToken({ cluster: east });
  await assert.rejects(attempt(second, 'good'), { code: 'conflict' });
  await assert.rejects(attempt(second, 'twin'), /has joined already/);
  clock.pass(16 * 60_000);
  await assert.rejects(attempt(second, 'late'), /expired/);
  // A client that pretends otherwise is refused by the authority's own clock.
  const slow = new ShiftedClock();
  const late = joinCluster({
    token: second,
    stateDir: join(dir, 'slow'),
    replica: parseReplicaName('two'),
    clock: slow,
    log: silent,
  });
  await assert.rejects(late, { code: 'unauthenticated' });
  assert.equal((await authority.journalState()).problem, undefined);
  assert.ok((await authority.journal(0, 100)).some(({ what }) => what === 'deny'));
});

test('init refuses to overwrite; open refuses a wrong passphrase and a second process', async (t) => {
  const { stateDir, clock } = await newAuthority(t);
  await assert.rejects(initAuthority({ stateDir, federationDomain, clock, scryptCost: cheap }), { code: 'conflict' });
  await assert.rejects(openAuthority({ stateDir, listen, clock, log: silent }), { code: 'conflict' });
  const passphraseFile = join(stateDir, 'other');
  await writeFile(passphraseFile, 'not the passphrase\n', { mode: 0o600 });
  await assert.rejects(openAuthority({ stateDir, listen, clock, log: silent, passphraseFile }), { code: 'denied' });
  await chmod(passphraseFile, 0o644);
  await assert.rejects(openAuthority({ stateDir, listen, clock, log: silent, passphraseFile }), /readable by others/);
});

test('an authority that restarts keeps its decisions, and agents come back to it', async (t) => {
  const clock = new ShiftedClock();
  const dir = await temporaryDir(t);
  const stateDir = join(dir, 'authority');
  await initAuthority({ stateDir, federationDomain, clock, scryptCost: cheap });
  const first = await openAuthority({ stateDir, listen, clock, log: silent });
  const { token } = await first.issueToken({ cluster: east });
  const { token: open } = await first.issueToken({
    cluster: parseClusterName('west'),
    addresses: [`127.0.0.1:${first.port}`],
  });
  await joinCluster({ token, stateDir: join(dir, 'east'), replica: one, clock, log: silent });
  const before = first.roster.current;
  await first.close();
  const ca = await openClusterCa({ stateDir: join(dir, 'east'), clock, log: silent });
  t.after(() => ca.close());
  assert.ok(ca.agentSvid.current, 'an agent starts without its authority');
  assert.equal(ca.status().authority.connected, false);

  const second = await openAuthority({ stateDir, listen: { host: '127.0.0.1', port: first.port }, clock, log: silent });
  t.after(() => second.close());
  assert.deepEqual(second.roster.current, before);
  await eventually('the agent is back', () => ca.status().authority.connected);
  await assert.rejects(joinCluster({ token, stateDir: join(dir, 'again'), replica: one, clock, log: silent }), {
    code: 'unauthenticated',
  });
  await joinCluster({ token: open, stateDir: join(dir, 'west'), replica: one, clock, log: silent });
  await eventually('east hears of west', () => ca.trust.current?.roster.clusters.size === 2);
  assert.equal((await second.journalState()).problem, undefined);
});

test('a revoked cluster is cut off at once and cannot come back', async (t) => {
  const { authority, clock } = await newAuthority(t);
  const stateDir = join(await temporaryDir(t), 'agent');
  const { token } = await authority.issueToken({ cluster: east });
  await joinCluster({ token, stateDir, replica: one, clock, log: silent });
  const ca = await openClusterCa({ stateDir, clock, log: silent });
  t.after(() => ca.close());
  await eventually('connected', () => ca.status().authority.connected);
  await authority.setClusterState(east, 'revoked', 'test');
  await eventually('cut off', () => !ca.status().authority.connected);
  assert.equal(authority.status().watchers, 0);
  await eventually('is told why', () => /cluster east is revoked/.test(ca.status().authority.problem ?? ''), 10_000);
  await assert.rejects(authority.issueToken({ cluster: east }), { code: 'denied' });
  await assert.rejects(authority.setClusterState(east, 'active', 'oops'), { code: 'conflict' });
});

test('a suspended cluster hears so from the authority itself, gets nothing, and comes back when it may', async (t) => {
  const { authority, clock } = await newAuthority(t);
  const stateDir = join(await temporaryDir(t), 'agent');
  const { token } = await authority.issueToken({ cluster: east });
  await joinCluster({ token, stateDir, replica: one, clock, log: silent });
  const ca = await openClusterCa({ stateDir, clock, log: silent });
  t.after(() => ca.close());
  const standing = () => ca.status().authority;
  await eventually('connected', () => standing().connected, 10_000);
  const { rosterSequence } = ca.status();
  await authority.setClusterState(east, 'suspended', 'test');
  await eventually(
    'is told why',
    () => /refuses this agent: cluster east is suspended/.test(standing().problem ?? ''),
    10_000,
  );
  assert.equal(ca.status().rosterSequence, rosterSequence, 'it learns nothing else');
  assert.equal(authority.status().watchers, 0);
  await authority.setClusterState(east, 'active', 'test');
  await eventually('connected again', () => standing().connected, 20_000);
  await eventually('and up to date', () => ca.status().rosterSequence > rosterSequence, 10_000);
});

async function spawnAuthority(
  t: TestContext,
  stateDir: string,
  port: number = 0,
): Promise<{ readonly child: ChildProcess; readonly port: number; readonly token: string }> {
  const script = fileURLToPath(new URL('support/authority-process.ts', import.meta.url));
  const child = spawn(process.execPath, [script, stateDir, `${port}`], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const [line] = await once(child.stdout, 'data');
  return { child, ...JSON.parse(String(line)) };
}

test('an authority killed right after its answer remembers it', async (t) => {
  const clock = new ShiftedClock();
  const dir = await temporaryDir(t);
  const stateDir = join(dir, 'authority');
  await initAuthority({ stateDir, federationDomain, clock, scryptCost: cheap });
  const first = await spawnAuthority(t, stateDir);
  await joinCluster({ token: first.token, stateDir: join(dir, 'one'), replica: one, clock, log: silent });
  first.child.kill('SIGKILL');
  await once(first.child, 'exit');
  const second = await spawnAuthority(t, stateDir, first.port);
  const again = (token: string, name: string): Promise<unknown> =>
    joinCluster({ token, stateDir: join(dir, name), replica: parseReplicaName(name), clock, log: silent });
  await assert.rejects(again(first.token, 'two'), /was used already/);
  await again(second.token, 'two');
  second.child.kill('SIGKILL');
  await once(second.child, 'exit');
  const third = await openAuthority({ stateDir, listen, clock, log: silent });
  t.after(() => third.close());
  assert.deepEqual(third.status().clusters, [{ name: 'east', state: 'active', keys: 2 }]);
  assert.equal((await third.journalState()).problem, undefined);
});
