import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import { type Authority, initAuthority, openAuthority } from '../../src/trust/io/authority.ts';
import { signOffline } from '../../src/trust/io/authority-signing.ts';
import { type ClusterCa, openClusterCa } from '../../src/trust/io/cluster-ca.ts';
import { joinCluster } from '../../src/trust/io/join.ts';
import { Endings } from './support/endings.ts';
import { eventually, ShiftedClock, silent } from './support/environment.ts';
import { federationDomain } from './support/federation.ts';

const east = parseClusterName('east');
const dayMs = 86_400_000;

test('an offline root renews what the federation lives on: the authority’s identities and a cluster’s intermediate', async (t) => {
  const ends = new Endings(t);
  const clock = new ShiftedClock();
  // TLS goes by the machine's own time, so that the end of this has to be now.
  clock.pass(-31 * dayMs);
  const dir = await ends.directory();
  const root = join(dir, 'root');
  const scryptCost = { N: 1 << 12 };
  await initAuthority({ stateDir: root, federationDomain, clock, scryptCost });
  const stateDir = join(dir, 'authority');
  const origin = { kind: 'offline', certificateFile: join(root, 'root.crt') } as const;
  await initAuthority({ stateDir, federationDomain, root: origin, clock, scryptCost });
  let authority: Authority | undefined;
  let port = 0;
  const start = async (): Promise<Authority> => {
    const opened = await openAuthority({ stateDir, listen: { host: '127.0.0.1', port }, clock, log: silent });
    authority = opened;
    port = opened.port;
    return opened;
  };
  ends.add(() => authority?.close());
  const kinds = async (at: Authority): Promise<string> => (await at.pending()).map(({ kind }) => kind).join(' ');
  /** What an operator carries there and back. */
  const sign = async (at: Authority): Promise<readonly string[]> => {
    const { file } = await at.signRequest();
    const { response } = await signOffline({ stateDir: root, request: file, clock });
    return (await at.importResponse(response)).accepted;
  };

  let at = await start();
  assert.equal(await kinds(at), 'authority seal');
  await sign(at);
  const agentDir = join(dir, 'east');
  const { token } = await at.issueToken({ cluster: east });
  const joining = joinCluster({ token, stateDir: agentDir, replica: parseReplicaName('one'), clock, log: silent });
  joining.catch(() => undefined);
  const join_ = async (): Promise<boolean> => (await kinds(at)) === 'join';
  for (const end = Date.now() + 20_000; !(await join_()); ) {
    assert.ok(Date.now() < end, 'the join does not wait');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await sign(at);
  await joining;

  // Past half of the seal leaf's 30 days.
  clock.pass(16 * dayMs);
  const { sealNotAfter = 0 } = at.status();
  assert.equal(await kinds(at), 'seal');
  assert.deepEqual(await sign(at), ['spiffe://authority.mesh.example/isthmus/seal/authority']);
  assert.ok((at.status().sealNotAfter ?? 0) > sealNotAfter, 'it seals with the new leaf');

  // Past half of the intermediate's 60 days.
  clock.pass(15 * dayMs);
  const openCa = async (): Promise<ClusterCa> => {
    const ca = await openClusterCa({ stateDir: agentDir, clock, log: silent });
    ends.add(() => ca.close());
    return ca;
  };
  const ca = await openCa();
  const { intermediateKeyId } = ca.status();
  await eventually('the agent waits', () => /offline root/.test(ca.status().renewalProblem ?? ''), 20_000);
  assert.ok(ca.agentSvid.current && ca.sealer.current, 'and goes on meanwhile');
  assert.equal(await kinds(at), 'seal renewal');
  // What waits survives a restart.
  await at.close();
  at = await start();
  assert.equal(await kinds(at), 'seal renewal');
  assert.deepEqual(await sign(at), ['spiffe://authority.mesh.example/isthmus/seal/authority', 'east/one']);
  await eventually('the new intermediate signs', () => ca.status().intermediateKeyId !== intermediateKeyId, 60_000);
  assert.equal(ca.status().renewalProblem, undefined);
  const svid = ca.agentSvid.current;
  assert.equal(svid && ca.peerVerifier.verify(svid.chain).ok, true);
  assert.deepEqual(await at.pending(), []);
  const journal = (await at.journal(0, 1000)).map(({ what }) => what);
  assert.equal(journal.filter((what) => what === 'import-response').length, 4);
  assert.equal(journal.filter((what) => what === 'issue-intermediate').length, 2);
  assert.equal((await at.journalState()).problem, undefined);
});
