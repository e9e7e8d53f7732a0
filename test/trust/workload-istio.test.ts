import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { parseClusterName } from '../../src/model/names.ts';
import { pemOf } from '../../src/runtime/io/tls.ts';
import { createCsr, generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';
import { createJwtAttestor } from '../../src/trust/io/workload-jwt.ts';
import { createCertificateMethod, type IstioCertificateResponse } from '../../src/trust/io/workload-protocols.ts';
import { kubernetesSubject } from '../../src/trust/workload/subject.ts';
import { Endings } from './support/endings.ts';
import { ShiftedClock, silent } from './support/environment.ts';
import { startTestAgent, startTestAuthority, type TestAgent } from './support/site.ts';

const issuer = 'https://kubernetes.default.svc';
const audience = 'istio-ca';
const web = 'system:serviceaccount:shop:web';

interface Setup extends TestAgent {
  readonly ends: Endings;
  readonly clock: ShiftedClock;
  readonly dir: string;
  readonly sign: (claims?: Record<string, unknown>, header?: Record<string, unknown>) => Promise<string>;
}

async function setup(t: TestContext): Promise<Setup> {
  const ends = new Endings(t);
  const clock = new ShiftedClock();
  const at = await startTestAuthority(ends, clock);
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const keysFile = join(at.dir, 'jwks.json');
  await writeFile(keysFile, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }] }));
  const agent = await startTestAgent(ends, at, {
    cluster: parseClusterName('east'),
    clock,
    attestors: async (ca) => [
      await createJwtAttestor({
        issuers: [{ issuer, audience, keys: { file: keysFile }, subject: kubernetesSubject }],
        trustDomain: ca.trustDomain,
        clock,
        log: silent,
      }),
    ],
  });
  const sign = (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): Promise<string> => {
    const exp = Math.floor(clock.now() / 1000) + 600;
    const all = { iss: issuer, aud: audience, sub: web, exp, ...claims };
    return new SignJWT(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)))
      .setProtectedHeader({ alg: 'ES256', kid: 'k1', ...header })
      .sign(privateKey);
  };
  return { ...agent, ends, clock, dir: at.dir, sign };
}

interface Ask {
  readonly token?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly struct?: Readonly<Record<string, unknown>>;
  readonly csr?: string;
  readonly seconds?: string;
  readonly identity?: { readonly chain: string; readonly key: string };
}

function csrPem(keyPem: string = generateKeyPem()): string {
  return pemOf(createCsr(signerOf(keyPem)), 'CERTIFICATE REQUEST');
}

async function ask({ ca, address }: TestAgent, request: Ask): Promise<readonly string[]> {
  const { token, identity, csr = csrPem(), seconds = '0' } = request;
  const anchors = Buffer.from(ca.anchors.map((anchor) => pemOf(anchor)).join(''));
  const channel = credentials.createSsl(
    anchors,
    identity ? Buffer.from(identity.key) : null,
    identity ? Buffer.from(identity.chain) : null,
    { checkServerIdentity: () => undefined },
  );
  const client = new Client(address, channel, { 'grpc.ssl_target_name_override': 'istiod.istio-system.svc' });
  const metadata = new Metadata();
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  for (const [key, value] of Object.entries(request.metadata ?? {})) metadata.set(key, value);
  try {
    return await new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        createCertificateMethod.path,
        createCertificateMethod.requestSerialize,
        createCertificateMethod.responseDeserialize,
        { csr, validityDuration: seconds, metadata: request.struct ? { fields: request.struct } : null },
        metadata,
        { deadline: Date.now() + 5000 },
        (error: ServiceError | null, response?: IstioCertificateResponse) =>
          error ? reject(error) : resolve(response?.certChain ?? []),
      );
    });
  } finally {
    client.close();
  }
}

async function refused(agent: TestAgent, request: Ask): Promise<{ readonly code: status; readonly details: string }> {
  try {
    await ask(agent, request);
  } catch (thrown) {
    const { code, details } = thrown as ServiceError;
    return { code, details };
  }
  throw new Error('It was certified');
}

const uriOf = (pem: string | undefined): string | undefined => new X509Certificate(pem ?? '').subjectAltName;

test('CreateCertificate: a service account gets its own id, leaf first and the root last and alone', async (t) => {
  const agent = await setup(t);
  const key = generateKeyPem();
  const chain = await ask(agent, { token: await agent.sign(), csr: csrPem(key) });
  assert.equal(chain.length, 3);
  for (const pem of chain) assert.match(pem, /^-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----\n$/);
  assert.equal(uriOf(chain[0]), 'URI:spiffe://east.mesh.example/ns/shop/sa/web');
  const root = new X509Certificate(chain[2] ?? '');
  assert.ok(root.ca && root.issuer === root.subject);
  const privateKey: KeyObject = createPrivateKey(key);
  assert.ok(new X509Certificate(chain[0] ?? '').checkPrivateKey(privateKey));
  const [leaf, intermediate, anchor] = await Promise.all(
    chain.map(async (pem, index) => {
      const path = join(agent.dir, `${index}.pem`);
      await writeFile(path, pem);
      return path;
    }),
  );
  const args = ['verify', '-x509_strict', '-CAfile', anchor ?? '', '-untrusted', intermediate ?? '', leaf ?? ''];
  assert.match(execFileSync('openssl', args).toString(), /OK/);
  const der = chain.slice(0, 2).map((pem) => new X509Certificate(pem).raw);
  const verdict = agent.ca.peerVerifier.verify(der);
  assert.equal(verdict.ok && verdict.id, 'spiffe://east.mesh.example/ns/shop/sa/web');
});

test('CreateCertificate: names of the request and the header clusterid decide nothing', async (t) => {
  const agent = await setup(t);
  const key = join(agent.dir, 'key.pem');
  const request = join(agent.dir, 'request.pem');
  await writeFile(key, generateKeyPem());
  execFileSync('openssl', [
    'req',
    '-new',
    '-key',
    key,
    '-out',
    request,
    '-subj',
    '/O=other/CN=admin',
    '-addext',
    'subjectAltName=URI:spiffe://east.mesh.example/isthmus/gateway/g,DNS:kubernetes.default',
    '-addext',
    'basicConstraints=critical,CA:TRUE',
  ]);
  const csr = await readFile(request, 'utf8');
  const [leaf] = await ask(agent, { token: await agent.sign(), csr, metadata: { clusterid: 'west' } });
  const read = new X509Certificate(leaf ?? '');
  assert.equal(read.subjectAltName, 'URI:spiffe://east.mesh.example/ns/shop/sa/web');
  assert.equal(read.ca, false);
  assert.equal(read.subject, undefined);
});

test('CreateCertificate: the life asked for is granted within bounds', async (t) => {
  const agent = await setup(t);
  const hours = async (seconds: string): Promise<number> => {
    const [leaf] = await ask(agent, { token: await agent.sign(), seconds });
    const { validFromDate, validToDate } = new X509Certificate(leaf ?? '');
    return Math.round(((validToDate.getTime() - validFromDate.getTime()) / 3_600_000) * 10) / 10;
  };
  assert.equal(await hours('7200'), 2);
  assert.equal(await hours('0'), 12);
  assert.equal(await hours('9223372036854775807'), 12);
  assert.equal(await hours('1'), 0);
});

test('CreateCertificate: whoever proves nothing is UNAUTHENTICATED, and learns why', async (t) => {
  const agent = await setup(t);
  const { sign } = agent;
  const other = await generateKeyPair('ES256');
  const forged = await new SignJWT({ iss: issuer, aud: audience, sub: web })
    .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
    .setExpirationTime('10m')
    .sign(other.privateKey);
  const past = Math.floor(agent.clock.now() / 1000) - 3600;
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${(await sign()).split('.')[1]}.`;
  // RFC 8725 §2.1: the public key taken for a shared secret.
  const hmac = await new SignJWT({ iss: issuer, aud: audience, sub: web })
    .setProtectedHeader({ alg: 'HS256', kid: 'k1' })
    .setExpirationTime('10m')
    .sign(await readFile(join(agent.dir, 'jwks.json')));
  const cases: readonly (readonly [string, string | undefined, RegExp])[] = [
    ['nothing', undefined, /neither a token nor a certificate/],
    ['other issuer', await sign({ iss: 'https://other' }), /issuer is not one of ours/],
    ['other audience', await sign({ aud: 'https://kubernetes.default.svc' }), /"aud"/],
    ['expired', await sign({ exp: past }), /"exp"/],
    ['without exp', await sign({ exp: undefined }), /"exp"/],
    ['other subject', await sign({ sub: 'system:node:n1' }), /subject of the token/],
    ['traversal', await sign({ sub: 'system:serviceaccount:shop/../isthmus:web' }), /subject of the token/],
    ['forged', forged, /signature/],
    ['unsigned', none, /refused/],
    ['signed by hmac', hmac, /"alg"/],
    ['no token', 'x'.repeat(20_000), /issuer is not one of ours/],
  ];
  for (const [what, token, why] of cases) {
    const { code, details } = await refused(agent, token === undefined ? {} : { token });
    assert.equal(code, status.UNAUTHENTICATED, `${what}: ${details}`);
    assert.match(details, why, what);
    if (token !== undefined) assert.ok(!details.includes(token), `${what}: the token is not repeated`);
  }
});

test('CreateCertificate: impersonation is refused', async (t) => {
  const agent = await setup(t);
  const struct = { ImpersonatedIdentity: { stringValue: 'spiffe://east.mesh.example/ns/a/sa/b' } };
  const { code } = await refused(agent, { token: await agent.sign(), struct });
  assert.equal(code, status.PERMISSION_DENIED);
});

test('CreateCertificate: a workload renews by its certificate; a gateway and a stranger get nothing', async (t) => {
  const agent = await setup(t);
  const key = generateKeyPem();
  const chain = (await ask(agent, { token: await agent.sign(), csr: csrPem(key) })).slice(0, 2).join('');
  const [leaf] = await ask(agent, { identity: { chain, key } });
  assert.equal(uriOf(leaf), 'URI:spiffe://east.mesh.example/ns/shop/sa/web');
  const other = await agent.sign({ sub: 'system:serviceaccount:shop:cart' });
  const two = await refused(agent, { identity: { chain, key }, token: other });
  assert.equal(two.code, status.UNAUTHENTICATED);
  assert.match(two.details, /proves two identities/);
  const own = agent.ca.agentSvid.current;
  assert.ok(own);
  const asAgent = { chain: own.chain.map((der) => pemOf(der)).join(''), key: own.keyPem };
  const reserved = await refused(agent, { identity: asAgent });
  assert.equal(reserved.code, status.PERMISSION_DENIED);
  assert.match(reserved.details, /identity of the program itself/);
});

test('CreateCertificate: a key of a CA, and a key of another identity, are not certified', async (t) => {
  const agent = await setup(t);
  const key = generateKeyPem();
  await ask(agent, { token: await agent.sign(), csr: csrPem(key) });
  await ask(agent, { token: await agent.sign(), csr: csrPem(key) });
  const cart = await agent.sign({ sub: 'system:serviceaccount:shop:cart' });
  const reused = await refused(agent, { token: cart, csr: csrPem(key) });
  assert.equal(reused.code, status.PERMISSION_DENIED);
  assert.match(reused.details, /certified for another identity/);
  const stored = JSON.parse(await readFile(join(agent.stateDir, 'intermediates.json'), 'utf8'));
  const ofCa = await refused(agent, { token: cart, csr: csrPem(stored.active.keyPem) });
  assert.match(ofCa.details, /is that of a CA/);
});

test('CreateCertificate: keys of an issuer that rotated are read again', async (t) => {
  const agent = await setup(t);
  await ask(agent, { token: await agent.sign() });
  const next = await generateKeyPair('RS256');
  const keys = [{ ...(await exportJWK(next.publicKey)), kid: 'k2', alg: 'RS256' }];
  await writeFile(join(agent.dir, 'jwks.json'), JSON.stringify({ keys }));
  const token = await new SignJWT({ iss: issuer, aud: audience, sub: web })
    .setProtectedHeader({ alg: 'RS256', kid: 'k2' })
    .setExpirationTime('10m')
    .sign(next.privateKey);
  assert.match((await refused(agent, { token })).details, /no applicable key/, 'not for each unknown key');
  agent.clock.monotonicOffsetMs += 6000;
  const [leaf] = await ask(agent, { token });
  assert.equal(uriOf(leaf), 'URI:spiffe://east.mesh.example/ns/shop/sa/web');
});

test('CreateCertificate: callers that come too often are told when to come back', async (t) => {
  const ends = new Endings(t);
  const clock = new ShiftedClock();
  const at = await startTestAuthority(ends, clock);
  const rule = { perSecond: 0.1, burst: 3 };
  const limits = { global: { perSecond: 100, burst: 100 }, renewalReserve: 0, source: rule, identity: rule };
  const agent = await startTestAgent(ends, at, { cluster: parseClusterName('east'), clock, limits });
  for (let i = 0; i < 3; i += 1) assert.equal((await refused(agent, {})).code, status.UNAUTHENTICATED);
  const { records } = agent.ca.issued().journal;
  const { code, details } = await refused(agent, {});
  assert.equal(code, status.RESOURCE_EXHAUSTED);
  assert.match(details, /try again in \d+ ms/);
  assert.equal(agent.ca.issued().journal.records, records, 'the journal does not grow by it');
});
