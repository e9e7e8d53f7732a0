import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseSpiffeId } from '../../src/model/identity.ts';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import { initAuthority, openAuthority } from '../../src/trust/io/authority.ts';
import { type ClusterCa, type OpenClusterCaOptions, openClusterCa } from '../../src/trust/io/cluster-ca.ts';
import { joinCluster } from '../../src/trust/io/join.ts';
import { Endings } from './support/endings.ts';
import { eventually, ShiftedClock, silent } from './support/environment.ts';
import { startTestAgent, startTestAuthority } from './support/site.ts';
import { federationDomain } from './support/federation.ts';

const east = parseClusterName('east');

/** An agent whose intermediates are past their half life from the start: back-dating by a minute does that. */
async function renewingAgent(
  t: TestContext,
  options: Partial<OpenClusterCaOptions> & { readonly lifeMs?: number },
): Promise<ClusterCa> {
  const clock = new ShiftedClock();
  const ends = new Endings(t);
  const dir = await ends.directory();
  const listen = { host: '127.0.0.1', port: 0 };
  await initAuthority({ stateDir: join(dir, 'authority'), federationDomain, clock, scryptCost: { N: 1 << 12 } });
  const intermediateLifeMs = options.lifeMs ?? 20_000;
  const authority = await openAuthority({
    stateDir: join(dir, 'authority'),
    listen,
    clock,
    log: silent,
    intermediateLifeMs,
  });
  ends.add(() => authority.close());
  const stateDir = join(dir, 'agent');
  const { token } = await authority.issueToken({ cluster: east });
  await joinCluster({ token, stateDir, replica: parseReplicaName('one'), clock, log: silent });
  // Certificates tell whole seconds: one of the same second would end no later.
  clock.offsetMs += 2000;
  const ca = await openClusterCa({ stateDir, clock, log: silent, svidLifeMs: 5000, ...options });
  ends.add(() => ca.close());
  return ca;
}

test('an agent whose intermediate ended has no identity and issues nothing, until the authority is back', async (t) => {
  const ends = new Endings(t);
  const clock = new ShiftedClock();
  const at = await startTestAuthority(ends, clock, { intermediateLifeMs: 3000 });
  const { ca } = await startTestAgent(ends, at, { cluster: east, clock, svidLifeMs: 1000 });
  assert.ok(ca.agentSvid.current && ca.sealer.current);
  await at.authority.close();
  await eventually('it has ended', () => ca.agentSvid.current === undefined && ca.sealer.current === undefined, 6000);
  assert.equal(ca.listenerMaterial.current, undefined, 'and nothing is presented');
  const attestation = { id: parseSpiffeId('spiffe://east.mesh.example/ns/a/sa/b'), kind: 'join', by: 'test' } as const;
  await assert.rejects(ca.issuance.issueWithKey(attestation), { code: 'unavailable' });
  assert.match(ca.status().renewalProblem ?? '', /./, 'it says why');
});

const keysOf = (ca: ClusterCa): number => ca.trust.current?.roster.clusters.get(east)?.caKeyIds.length ?? 0;

test('a renewed intermediate signs once everybody acknowledged the roster that lists it, not before', async (t) => {
  let missing: readonly string[] = ['west/gateway-0'];
  const asked = new Set<number>();
  const ca = await renewingAgent(t, {
    unacknowledged(sequence) {
      asked.add(sequence);
      return missing;
    },
  });
  const { intermediateKeyId } = ca.status();
  await eventually('both keys are in the roster', () => keysOf(ca) === 2 && ca.status().pending !== undefined);
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.equal(ca.status().intermediateKeyId, intermediateKeyId, 'not used before others know it');
  assert.deepEqual(ca.status().pending?.missing, ['west/gateway-0']);
  assert.deepEqual([...asked], [ca.trust.current?.roster.sequence], 'it waits for the roster that first lists the key');
  missing = [];
  await eventually('the new one signs', () => ca.status().intermediateKeyId !== intermediateKeyId);
  const svid = ca.agentSvid.current;
  assert.equal(svid && ca.peerVerifier.verify(svid.chain).ok, true);
  const sealer = ca.sealer.current;
  assert.ok(sealer && ca.sealVerifier.learn(sealer.chainId, sealer.chain));
  assert.equal(ca.sealVerifier.verify('head', sealer.seal('head', Buffer.from('x')), ca.trustDomain).ok, true);
});

test('a renewed intermediate waits no longer than its bound, and the journal says for whom it waited', async (t) => {
  const ca = await renewingAgent(t, { unacknowledged: () => ['west/gateway-0'], activationMaxMs: 300 });
  const { intermediateKeyId } = ca.status();
  await eventually('the new one signs', () => ca.status().intermediateKeyId !== intermediateKeyId);
  const { records } = ca.issued().journal;
  assert.ok(records >= 4, `issued and activated: ${records} records`);
});

test('an intermediate that ends before a leaf could is never taken into use', async (t) => {
  const ca = await renewingAgent(t, { svidLifeMs: 3_600_000 });
  await eventually('it says why', () => /before a leaf of 3600000 ms could/.test(ca.status().renewalProblem ?? ''));
  assert.equal(ca.status().pending, undefined);
});

test('the authority’s clock is told from what it says as its roster stream opens', async (t) => {
  const ca = await renewingAgent(t, {});
  await eventually('an estimate', () => ca.status().clockSkew !== undefined);
  assert.ok(Math.abs(ca.status().clockSkew?.skewMs ?? 9999) < 1500, JSON.stringify(ca.status().clockSkew));
});
