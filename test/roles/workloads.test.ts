import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { type AgentConfig, parseAgentConfig } from '../../src/config/agent.ts';
import { readDocument } from '../../src/config/document.ts';
import { parseTrustDomain } from '../../src/model/identity.ts';
import { parseClusterName } from '../../src/model/names.ts';
import { type AgentRole, startAgent } from '../../src/roles/agent.ts';
import { systemClock as clock } from '../../src/runtime/io/clock.ts';
import { createLog } from '../../src/runtime/io/log.ts';
import { pemOf } from '../../src/runtime/io/tls.ts';
import { type Authority, initAuthority, openAuthority } from '../../src/trust/io/authority.ts';
import { createCsr, generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';
import {
  createCertificateMethod,
  type IstioCertificateResponse,
  workloadApiService,
  type X509SvidResponse,
} from '../../src/trust/io/workload-protocols.ts';

/** Workloads of an agent that runs from a file: Istio's signing API by a token, the SPIFFE Workload API by a socket. */

const log = createLog('test', 'silent');
const issuer = 'https://kubernetes.default.svc';
const web = 'URI:spiffe://east.mesh.example/ns/shop/sa/web';
let dir = '';
let authority: Authority | undefined;
let agent: AgentRole | undefined;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-workloads-'));
  const stateDir = join(dir, 'authority');
  await initAuthority({
    stateDir,
    federationDomain: parseTrustDomain('mesh.example'),
    clock,
    scryptCost: { N: 2 ** 12 },
  });
  authority = await openAuthority({ stateDir, listen: { host: '127.0.0.1', port: 0 }, clock, log });
  const { token } = await authority.issueToken({ cluster: parseClusterName('east') });
  await writeFile(join(dir, 'token'), token, { mode: 0o600 });
  await mkdir(join(dir, 'run'), { mode: 0o755 });
});

afterEach(async () => {
  await agent?.close();
  await authority?.close();
  agent = undefined;
  await rm(dir, { recursive: true, force: true });
});

function config(workloads: string): AgentConfig {
  const text = `
stateDir: state
cluster: east
join: { tokenFile: token }
hub: { url: memory }
listen: { grpc: 127.0.0.1:0, http: 127.0.0.1:0 }
advertise: ['127.0.0.1:1']
workloads:
${workloads}
`;
  const parsed = parseAgentConfig(readDocument('agent.yaml', text), (path) => join(dir, path));
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

test('workloads get their identities from an agent that runs from a file', async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  await writeFile(join(dir, 'jwks.json'), JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k' }] }));
  agent = await startAgent(
    config(`  serverNames: [istiod.istio-system.svc]
  jwt: [{ issuer: '${issuer}', audience: istio-ca, keysFile: jwks.json }]
  sockets: [{ path: run/web/api.sock, serviceAccount: shop/web }]`),
    { clock, log },
  );
  const { ca } = await agent.running;

  const token = await new SignJWT({ iss: issuer, aud: 'istio-ca', sub: 'system:serviceaccount:shop:web' })
    .setProtectedHeader({ alg: 'ES256', kid: 'k' })
    .setExpirationTime('5m')
    .sign(privateKey);
  const anchors = Buffer.from(ca.anchors.map((der) => pemOf(der)).join(''));
  // As Istio's own clients do: the root and the host name, nothing of SPIFFE.
  const istio = new Client(`127.0.0.1:${agent.grpcPort}`, credentials.createSsl(anchors), {
    'grpc.ssl_target_name_override': 'istiod.istio-system.svc',
  });
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const { path, requestSerialize, responseDeserialize } = createCertificateMethod;
  const csr = pemOf(createCsr(signerOf(generateKeyPem())), 'CERTIFICATE REQUEST');
  const request = { csr, validityDuration: '3600', metadata: null };
  const chain = await new Promise<readonly string[]>((resolve, reject) => {
    istio.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, metadata, done);
    function done(error: ServiceError | null, response?: IstioCertificateResponse): void {
      if (error) reject(error);
      else resolve(response?.certChain ?? []);
    }
  });
  istio.close();
  assert.equal(new X509Certificate(chain[0] ?? '').subjectAltName, web);

  const fetch = workloadApiService['FetchX509SVID'];
  assert.ok(fetch);
  const spiffe = new Client(`unix:${join(dir, 'run/web/api.sock')}`, credentials.createInsecure());
  const header = new Metadata();
  header.set('workload.spiffe.io', 'true');
  const stream = spiffe.makeServerStreamRequest(
    fetch.path,
    fetch.requestSerialize,
    fetch.responseDeserialize,
    {},
    header,
  );
  const message = await new Promise<X509SvidResponse>((resolve, reject) => {
    stream.once('data', resolve).once('error', reject);
  });
  stream.on('error', () => undefined).cancel();
  spiffe.close();
  assert.equal(new X509Certificate(message.svids[0]?.x509Svid ?? '').subjectAltName, web);
  assert.ok(agent.api.trustStatus().journal.records >= 4, 'agent, seal, and both of them are in the journal');
});

test('a workload that cannot be served keeps the agent from running, and the file is to blame', async () => {
  const refused = async (workloads: string, why: RegExp): Promise<void> => {
    agent = await startAgent(config(workloads), { clock, log });
    await assert.rejects(agent.running, why);
    await agent.close();
    agent = undefined;
  };
  await refused(
    `  sockets: [{ path: run/web/api.sock, spiffeId: 'spiffe://west.mesh.example/ns/a/sa/b' }]`,
    /agent.yaml:\d+: workloads.sockets\[0\]: .*not of trust domain east.mesh.example/,
  );
  await refused(`  jwt: [{ issuer: 'https://a', keysFile: none.json }]`, /workloads.jwt: There is no file .*none.json/);
  await writeFile(join(dir, 'jwks.json'), JSON.stringify({ keys: [{ kty: 'oct', k: 'c2VjcmV0' }] }));
  await refused(`  jwt: [{ issuer: 'https://a', keysFile: jwks.json }]`, /must hold public keys only/);
});
