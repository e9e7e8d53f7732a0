import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
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
const cheap = { N: 1 << 12 };

async function newAuthority(
  t: TestContext,
  clock: ShiftedClock = new ShiftedClock(),
): Promise<{ authority: Authority; stateDir: string; clock: ShiftedClock }> {
  const stateDir = join(await temporaryDir(t), 'authority');
  await initAuthority({ stateDir, federationDomain, clock, scryptCost: cheap });
  const authority = await openAuthority({ stateDir, listen, clock, log: silent });
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
  assert.equal(authority.journalProblem(), undefined);
});
