import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Client, credentials, type MethodDefinition } from '@grpc/grpc-js';
import { IsthmusError } from '../../src/model/error.ts';
import { domainId, parseSpiffeId } from '../../src/model/identity.ts';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import type { SealKind } from '../../src/model/ports/seal.ts';
import type { Svid } from '../../src/model/trust.ts';
import { callUnary } from '../../src/runtime/io/grpc-client.ts';
import { acceptTls, dialTls, pemOf, secureContextOf } from '../../src/runtime/io/tls.ts';
import { listenTcp } from '../../src/runtime/io/tcp-server.ts';
import { enrollMethod, joinMethod, renewIntermediateMethod, renewMethod } from '../../src/trust/io/authority-api.ts';
import { verifiedPeer } from '../../src/trust/io/call-identity.ts';
import { openGatewayIdentity } from '../../src/trust/io/gateway-identity.ts';
import { type Issuer, issue, issuerOf } from '../../src/trust/io/issuer.ts';
import { createCsr, generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';
import { createSealer } from '../../src/trust/io/sealer.ts';
import { createCertificateMethod } from '../../src/trust/io/workload-protocols.ts';
import { createPeerVerifier } from '../../src/trust/verify/peer-verifier.ts';
import { caName } from '../../src/trust/x509/certificate.ts';
import type { ProfileName } from '../../src/trust/x509/profiles.ts';
import { decodeJoinToken } from '../../src/wire/join-token.ts';
import { encodeRoster } from '../../src/wire/roster.ts';
import { Endings } from './support/endings.ts';
import { eventually, ShiftedClock, silent } from './support/environment.ts';
import { federationDomain } from './support/federation.ts';
import { startTestAgent, startTestAuthority, type TestAgent, type TestAuthority } from './support/site.ts';

const east = parseClusterName('east');
const west = parseClusterName('west');

/** Everything that an agent of west holds. */
interface KeySet {
  readonly intermediate: Issuer;
  readonly agent: Svid;
  readonly gateway: Svid;
}

async function stolenKeys({ ca, stateDir }: TestAgent, gateway: Svid): Promise<KeySet> {
  const stored = JSON.parse(await readFile(join(stateDir, 'intermediates.json'), 'utf8'));
  const { certificate, keyPem } = stored.active;
  const agent = ca.agentSvid.current;
  assert.ok(agent);
  return { intermediate: issuerOf(Buffer.from(certificate, 'base64'), signerOf(keyPem)), agent, gateway };
}

/** Signs whatever the attacker likes, past every gate. */
function mint(issuer: Issuer, id: string, profile: Exclude<ProfileName, 'root'> = 'leaf'): Svid {
  const keyPem = generateKeyPem();
  const uri = parseSpiffeId(id);
  const { certificate, notBefore, notAfter } = issue(issuer, {
    profile,
    uri,
    spki: signerOf(keyPem).spki,
    now: Date.now(),
    ...(profile === 'intermediate' && { subject: caName(federationDomain, 'east', signerOf(keyPem).keyId) }),
  });
  return { id: uri, chain: [certificate, issuer.certificate], keyPem, notBefore, notAfter };
}

interface Target {
  readonly address: string;
  readonly anchors: readonly Uint8Array[];
  readonly as?: Svid;
}

/** What comes of a call: the code of the refusal. */
async function outcome<Request, Response>(
  method: MethodDefinition<Request, Response>,
  { address, anchors, as }: Target,
  request: Request,
): Promise<string> {
  const channel = credentials.createSsl(
    Buffer.from(anchors.map((der) => pemOf(der)).join('')),
    as ? Buffer.from(as.keyPem) : null,
    as ? Buffer.from(as.chain.map((der) => pemOf(der)).join('')) : null,
    { checkServerIdentity: () => undefined },
  );
  const client = new Client(address, channel, {
    'grpc.ssl_target_name_override': 'isthmus.internal',
    'grpc.use_local_subchannel_pool': 1,
  });
  try {
    await callUnary(client, method, request, { timeoutMs: 3000 });
    return 'ok';
  } catch (thrown) {
    return IsthmusError.from(thrown).code;
  } finally {
    client.close();
  }
}

interface Setup {
  readonly ends: Endings;
  readonly clock: ShiftedClock;
  readonly at: TestAuthority;
  readonly ofEast: TestAgent;
  readonly ofWest: TestAgent;
  readonly keys: KeySet;
  readonly gatewayOfEast: Awaited<ReturnType<typeof openGatewayIdentity>>;
  readonly authorityAddress: string;
}

async function setup(t: TestContext, nameConstraints: boolean): Promise<Setup> {
  const ends = new Endings(t);
  const clock = new ShiftedClock();
  const at = await startTestAuthority(ends, clock, { nameConstraints });
  const ofEast = await startTestAgent(ends, at, { cluster: east, clock });
  const ofWest = await startTestAgent(ends, at, { cluster: west, clock });
  const enrol = async (agent: TestAgent, name: string): Promise<Setup['gatewayOfEast']> => {
    const replica = parseReplicaName(name);
    const { token } = await agent.ca.issueGatewayToken({ gateway: replica, addresses: [agent.address] });
    const stateDir = join(at.dir, `gateway-of-${agent.ca.cluster}`);
    const gateway = await openGatewayIdentity({ stateDir, replica, token, agentAddresses: [], clock, log: silent });
    ends.add(() => gateway.close());
    await eventually('enrolled', () => gateway.waitingFor() === undefined);
    return gateway;
  };
  const gatewayOfEast = await enrol(ofEast, 'gateway-0');
  const gatewayOfWest = await enrol(ofWest, 'gateway-0');
  await eventually('both know each other', () =>
    [ofEast, ofWest].every(({ ca }) => ca.trust.current?.roster.clusters.size === 2),
  );
  for (const gateway of [gatewayOfEast, gatewayOfWest]) {
    const update = ofEast.ca.trustUpdate.current;
    if (update) gateway.acceptTrust(update);
  }
  const svid = gatewayOfWest.svid.current;
  assert.ok(svid);
  const keys = await stolenKeys(ofWest, svid);
  const authorityAddress = `127.0.0.1:${at.authority.port}`;
  return { ends, clock, at, ofEast, ofWest, keys, gatewayOfEast, authorityAddress };
}

for (const nameConstraints of [true, false]) {
  const how = nameConstraints ? 'with' : 'without';

  test(`west with all its keys cannot mint anything of east, ${how} name constraints`, async (t) => {
    const { clock, ofEast, ofWest, keys, gatewayOfEast } = await setup(t, nameConstraints);
    const verifiers = {
      'the agent of east': ofEast.ca.peerVerifier,
      'the gateway of east': gatewayOfEast.verifier,
      'the agent of west itself': ofWest.ca.peerVerifier,
      'a gateway that asks no roster': createPeerVerifier(ofEast.ca.trust, clock, { binding: 'trust-domain' }),
    };
    const sub = mint(keys.intermediate, domainId(ofEast.ca.trustDomain), 'intermediate');
    const subIssuer = issuerOf(sub.chain[0] ?? new Uint8Array(), signerOf(sub.keyPem));
    const below = mint(subIssuer, 'spiffe://east.mesh.example/isthmus/gateway/gateway-0');
    const forgeries = {
      'a gateway': mint(keys.intermediate, 'spiffe://east.mesh.example/isthmus/gateway/gateway-0'),
      'an agent': mint(keys.intermediate, 'spiffe://east.mesh.example/isthmus/agent/one'),
      'a workload': mint(keys.intermediate, 'spiffe://east.mesh.example/ns/shop/sa/web'),
      'the authority': mint(keys.intermediate, 'spiffe://authority.mesh.example/isthmus/authority', 'authority'),
      'a leaf of a CA of its own': { ...below, chain: [...below.chain, keys.intermediate.certificate] },
      'a leaf under the real intermediate of east': {
        ...below,
        chain: [
          mint(keys.intermediate, below.id).chain[0] ?? below.chain[0],
          gatewayOfEast.svid.current?.chain[1],
        ].flatMap((der) => der ?? []),
      },
      'a leaf whose issuer is its agent': mint(
        issuerOf(keys.agent.chain[0] ?? new Uint8Array(), signerOf(keys.agent.keyPem)),
        'spiffe://west.mesh.example/isthmus/gateway/gateway-0',
      ),
    };
    for (const [what, svid] of Object.entries(forgeries)) {
      for (const [who, verifier] of Object.entries(verifiers)) {
        const verdict = verifier.verify([...svid.chain, ...ofEast.ca.anchors]);
        assert.equal(verdict.ok, false, `${who} accepts ${what}`);
      }
    }
    const honest = ofEast.ca.peerVerifier.verify(keys.gateway.chain);
    assert.equal(
      honest.ok && honest.id,
      'spiffe://west.mesh.example/isthmus/gateway/gateway-0',
      'as itself it is west',
    );
  });

  test(`west with all its keys cannot connect as anything of east, ${how} name constraints`, async (t) => {
    const { ends, at, ofEast, keys, gatewayOfEast, authorityAddress } = await setup(t, nameConstraints);
    const { anchors } = ofEast.ca;
    const gatewayId = 'spiffe://east.mesh.example/isthmus/gateway/gateway-0';
    const asGateway = mint(keys.intermediate, gatewayId);
    const asAgent = mint(keys.intermediate, 'spiffe://east.mesh.example/isthmus/agent/one');
    const csr = Buffer.from(createCsr(signerOf(generateKeyPem())));
    const agent = { address: ofEast.address, anchors };
    const authority = { address: authorityAddress, anchors };
    const refused = ['unavailable', 'unauthenticated', 'denied'];
    const attempts: readonly (readonly [string, string])[] = [
      ['renew as its gateway', await outcome(renewMethod, { ...agent, as: asGateway }, { csr })],
      ['renew as a gateway of west', await outcome(renewMethod, { ...agent, as: keys.gateway }, { csr })],
      ['renew as the agent of west', await outcome(renewMethod, { ...agent, as: keys.agent }, { csr })],
      ['renew as nobody', await outcome(renewMethod, agent, { csr })],
      [
        'enrol with a guess',
        await outcome(enrollMethod, agent, { replica: 'gateway-9', secret: Buffer.alloc(32), csr }),
      ],
      [
        'a workload by the certificate of west',
        await outcome(
          createCertificateMethod,
          { ...agent, as: mint(keys.intermediate, 'spiffe://west.mesh.example/ns/shop/sa/web') },
          { csr: pemOf(csr, 'CERTIFICATE REQUEST'), validityDuration: '0', metadata: null },
        ),
      ],
      [
        'an intermediate as its agent',
        await outcome(renewIntermediateMethod, { ...authority, as: asAgent }, { replica: 'one', csr }),
      ],
      [
        'an intermediate as a gateway',
        await outcome(renewIntermediateMethod, { ...authority, as: keys.gateway }, { replica: 'one', csr }),
      ],
    ];
    for (const [what, code] of attempts) assert.ok(refused.includes(code), `${what}: ${code}`);

    const token = decodeJoinToken((await at.authority.issueToken({ cluster: west })).token);
    const forEast = { cluster: 'east', replica: 'two', secret: Buffer.from(token.secret), csr };
    assert.equal(await outcome(joinMethod, authority, forEast), 'denied', 'its own token is for itself only');
    const eastKey = at.authority.roster.current.clusters.get(east)?.caKeyIds;
    assert.equal(eastKey?.length, 1, 'east got no key by all that');

    const listener = await listenTcp({ host: '127.0.0.1', port: 0 }, (raw) => {
      const svid = gatewayOfEast.svid.current;
      if (!svid) {
        raw.destroy();
        return;
      }
      acceptTls(raw, {
        context: secureContextOf({ identity: svid, anchors }),
        alpn: ['h2'],
        clientCertificate: 'required',
        check: (chain) => verifiedPeer(gatewayOfEast.verifier, chain),
        timeoutMs: 2000,
      }).then(
        ({ socket }) => socket.end('in'),
        () => raw.destroy(),
      );
    });
    ends.add(() => listener.close());
    const knocks = async (identity: Svid): Promise<string> => {
      const { socket } = await dialTls({
        host: '127.0.0.1',
        port: listener.port,
        context: secureContextOf({ identity, anchors }),
        alpn: ['h2'],
        check: () => undefined,
        timeoutMs: 2000,
      });
      return new Promise((resolve) => {
        let heard = '';
        socket.on('data', (chunk) => {
          heard += String(chunk);
        });
        socket.on('error', () => undefined).once('close', () => resolve(heard));
      });
    };
    assert.equal(await knocks(keys.gateway), 'in', 'as itself it is let in');
    assert.equal(await knocks(asGateway), '');
    assert.equal(await knocks(asAgent), '');
  });

  test(`west with all its keys cannot seal anything of east or of the authority, ${how} name constraints`, async (t) => {
    const { at, ofEast, ofWest, keys } = await setup(t, nameConstraints);
    const { sealVerifier } = ofEast.ca;
    const judged = (
      sealer: ReturnType<typeof createSealer>,
      kind: SealKind,
      domain = ofEast.ca.trustDomain,
    ): string => {
      sealVerifier.learn(sealer.chainId, sealer.chain);
      const verdict = sealVerifier.verify(kind, sealer.seal(kind, Buffer.from('{}')), domain);
      return verdict.ok ? 'ok' : verdict.reason;
    };
    const own = ofWest.ca.sealer.current;
    assert.ok(own);
    assert.equal(judged(own, 'head', ofWest.ca.trustDomain), 'ok', 'as itself it seals');
    assert.equal(judged(own, 'head'), 'foreign-signer');
    const forged = mint(keys.intermediate, 'spiffe://east.mesh.example/isthmus/seal/one', 'seal');
    assert.equal(judged(createSealer(forged), 'head'), 'distrusted');
    for (const kind of ['head', 'delta', 'lease'] as const) {
      assert.notEqual(judged(createSealer(keys.agent), kind), 'ok', 'an agent is no sealer');
    }
    const roster = at.authority.roster.current;
    const authoritySeal = mint(keys.intermediate, 'spiffe://authority.mesh.example/isthmus/seal/authority', 'seal');
    const evil = encodeRoster({ ...roster, sequence: roster.sequence + 100, deniedKeyIds: [] });
    for (const sealer of [createSealer(authoritySeal), own]) {
      const offer = ofEast.ca.acceptRoster(sealer.seal('roster', evil), sealer.chain);
      assert.equal(offer.result, 'refused');
    }
    assert.equal(ofEast.ca.trust.current?.roster.sequence, roster.sequence);
  });
}

test('the CA of west itself issues nothing of east, however the caller was attested', async (t) => {
  const { ofWest } = await setup(t, true);
  const csr = createCsr(signerOf(generateKeyPem()));
  for (const id of [
    'spiffe://east.mesh.example/ns/shop/sa/web',
    'spiffe://west.mesh.example/isthmus/agent/one',
    'spiffe://west.mesh.example/isthmus/seal/one',
    'spiffe://west.mesh.example',
    'spiffe://authority.mesh.example/isthmus/authority',
  ]) {
    const attestation = { id: parseSpiffeId(id), kind: 'join', by: 'a broken attestor' } as const;
    await assert.rejects(ofWest.ca.issuance.issueForWorkload({ attestation, csr }), { code: 'denied' }, id);
    await assert.rejects(ofWest.ca.issuance.issueWithKey(attestation), { code: 'denied' }, id);
    await assert.rejects(ofWest.ca.issuance.issueForGateway({ attestation, csr }), { code: 'denied' }, id);
  }
  const gateway = parseSpiffeId('spiffe://east.mesh.example/isthmus/gateway/one');
  const attestation = { id: gateway, kind: 'renewal', by: 'a broken attestor' } as const;
  await assert.rejects(ofWest.ca.issuance.issueForGateway({ attestation, csr }), { code: 'denied' });
});
