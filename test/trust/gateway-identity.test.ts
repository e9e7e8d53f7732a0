import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Server } from '@grpc/grpc-js';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import { type GrpcListener, listenGrpc } from '../../src/runtime/io/grpc-server.ts';
import { initAuthority, openAuthority } from '../../src/trust/io/authority.ts';
import { gatewayIdentityService } from '../../src/trust/io/authority-api.ts';
import { optionalPeer, type VerifiedPeer } from '../../src/trust/io/call-identity.ts';
import { type ClusterCa, openClusterCa } from '../../src/trust/io/cluster-ca.ts';
import { type GatewayIdentity, openGatewayIdentity } from '../../src/trust/io/gateway-identity.ts';
import { joinCluster } from '../../src/trust/io/join.ts';
import { eventually, ShiftedClock, silent, temporaryDir } from './support/environment.ts';
import { federationDomain } from './support/federation.ts';

const east = parseClusterName('east');
const g1 = parseReplicaName('g1');
const listen = { host: '127.0.0.1', port: 0 };

/** Serves the identity calls of an agent, as its role does. */
async function serve(ca: ClusterCa, port: number = 0): Promise<GrpcListener<VerifiedPeer | undefined>> {
  const server = new Server();
  const held: { listener?: GrpcListener<VerifiedPeer | undefined> } = {};
  server.addService(
    gatewayIdentityService,
    ca.identityHandlers((call) => held.listener?.peerOf(call)),
  );
  held.listener = await listenGrpc({
    listen: { ...listen, port },
    server,
    material: () => ca.listenerMaterial.current,
    check: optionalPeer(ca.peerVerifier),
    log: silent,
  });
  return held.listener;
}

async function setup(t: TestContext) {
  const clock = new ShiftedClock();
  const dir = await temporaryDir(t);
  const stateDir = join(dir, 'authority');
  await initAuthority({ stateDir, federationDomain, clock, scryptCost: { N: 1 << 12 } });
  const authority = await openAuthority({ stateDir, listen, clock, log: silent });
  t.after(() => authority.close());
  const { token } = await authority.issueToken({ cluster: east });
  await joinCluster({ token, stateDir: join(dir, 'agent'), replica: parseReplicaName('one'), clock, log: silent });
  const ca = await openClusterCa({ stateDir: join(dir, 'agent'), clock, log: silent, svidLifeMs: 3_600_000 });
  t.after(() => ca.close());
  const agent = await serve(ca);
  t.after(() => agent.close());
  const address = `127.0.0.1:${agent.port}`;
  const open = async (name: string, given?: string): Promise<GatewayIdentity> => {
    const gateway = await openGatewayIdentity({
      stateDir: join(dir, name),
      replica: g1,
      agentAddresses: [address],
      clock,
      log: silent,
      ...(given !== undefined && { token: given }),
    });
    t.after(() => gateway.close());
    return gateway;
  };
  const issueToken = async (): Promise<string> =>
    (await ca.issueGatewayToken({ gateway: g1, addresses: [address] })).token;
  return { clock, dir, authority, ca, agent, open, issueToken };
}

test('a gateway enrols, renews at half life and starts again without its agent', async (t) => {
  const { clock, agent, ca, open, issueToken } = await setup(t);
  const gateway = await open('g', await issueToken());
  assert.match(gateway.waitingFor() ?? '', /an identity from the agent of east/);
  await eventually('enrolled', () => gateway.waitingFor() === undefined);
  const first = gateway.svid.current;
  assert.equal(first?.id, 'spiffe://east.mesh.example/isthmus/gateway/g1');
  assert.equal(gateway.verifier.verify(first.chain).ok, true);
  assert.equal(ca.peerVerifier.verify(first.chain).ok, true);
  await gateway.close();

  clock.pass(35 * 60_000);
  const again = await open('g');
  await eventually('renewed', () => again.svid.current !== undefined && again.svid.current.notAfter > first.notAfter);
  assert.notEqual(again.svid.current?.keyPem, first.keyPem, 'each renewal has a new key');
  await again.close();

  await agent.close();
  const alone = await open('g');
  assert.equal(alone.waitingFor(), undefined);
  await alone.close();
  clock.pass(2 * 3_600_000);
  const expired = await open('g');
  assert.equal(expired.svid.current, undefined);
  assert.match(expired.waitingFor() ?? '', /renewal of the expired identity/);
});

test('a token of a gateway works once, and says why it does not', async (t) => {
  const { dir, open, issueToken } = await setup(t);
  const token = await issueToken();
  const gateways = await Promise.all(Array.from({ length: 5 }, (_, index) => open(`g${index}`, token)));
  const enrolled = (): number => gateways.filter((gateway) => gateway.svid.current !== undefined).length;
  const refused = (): number => gateways.filter((gateway) => /used already/.test(gateway.waitingFor() ?? '')).length;
  await eventually('one is in, four are told', () => enrolled() === 1 && refused() === 4);
  await assert.rejects(open('none'), /no token to get one/);
  await rm(join(dir, 'none'), { recursive: true });
});

test('a gateway takes a newer roster only', async (t) => {
  const { authority, ca, open, issueToken } = await setup(t);
  const gateway = await open('g', await issueToken());
  await eventually('enrolled', () => gateway.waitingFor() === undefined);
  const old = ca.trustUpdate.current;
  assert.ok(old);
  await authority.issueToken({ cluster: parseClusterName('west') });
  await authority.setClusterState(east, 'suspended', 'test');
  const { sealed, chain } = authority.sealedRoster.current ?? assert.fail('there is a roster');
  const verdict = (): string => {
    const svid = gateway.svid.current;
    const result = svid && gateway.verifier.verify(svid.chain);
    return result?.ok ? 'ok' : (result?.reason ?? 'none');
  };
  assert.equal(verdict(), 'ok');
  gateway.acceptTrust({ sealedRoster: sealed, rosterChain: chain, anchors: [] });
  assert.equal(verdict(), 'cluster-suspended');
  gateway.acceptTrust(old);
  assert.equal(verdict(), 'cluster-suspended', 'rollback is refused');
});
