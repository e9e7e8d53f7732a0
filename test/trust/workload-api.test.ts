import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmod, lstat, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Client, type ClientReadableStream, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { parseSpiffeId } from '../../src/model/identity.ts';
import { parseClusterName } from '../../src/model/names.ts';
import { pemOf } from '../../src/runtime/io/tls.ts';
import type { Authority } from '../../src/trust/io/authority.ts';
import { serveWorkloadApi, type WorkloadSocket } from '../../src/trust/io/workload-api.ts';
import {
  workloadApiService,
  type X509BundlesResponse,
  type X509SvidResponse,
} from '../../src/trust/io/workload-protocols.ts';
import { Endings } from './support/endings.ts';
import { eventually, ShiftedClock, silent } from './support/environment.ts';
import { startTestAgent, startTestAuthority, type TestAgent } from './support/site.ts';

const east = parseClusterName('east');
const west = parseClusterName('west');
const web = parseSpiffeId('spiffe://east.mesh.example/ns/shop/sa/web');
const self = process.getuid?.() ?? 0;

interface Setup extends TestAgent {
  readonly ends: Endings;
  readonly clock: ShiftedClock;
  readonly authority: Authority;
  /** A directory whose owner alone may write. */
  readonly run: string;
  readonly serve: (changes?: Partial<WorkloadSocket>) => Promise<string>;
}

async function setup(t: TestContext, svidLifeMs: number = 3_600_000): Promise<Setup> {
  const ends = new Endings(t);
  const clock = new ShiftedClock();
  const at = await startTestAuthority(ends, clock);
  const agent = await startTestAgent(ends, at, { cluster: east, clock, svidLifeMs });
  const run = join(at.dir, 'run');
  await mkdir(run);
  await chmod(run, 0o755);
  const serve = async (changes: Partial<WorkloadSocket> = {}): Promise<string> => {
    const socket = { path: join(run, 'web', 'api.sock'), id: web, uid: self, ...changes };
    const { issuance, trust } = agent.ca;
    const api = await serveWorkloadApi({ socket, cluster: east, issuance, trust, clock, log: silent });
    ends.add(() => api.close());
    return socket.path;
  };
  return { ...agent, ends, clock, authority: at.authority, run, serve };
}

type MethodName = 'FetchX509SVID' | 'FetchX509Bundles' | 'FetchJWTSVID' | 'FetchJWTBundles' | 'ValidateJWTSVID';

interface Stream<Message> {
  readonly messages: Message[];
  error(): ServiceError | undefined;
}

/** Opens a stream as a SPIFFE client does; unary methods are called as streams too, which looks the same on the wire. */
function open<Message>(
  ends: Endings,
  path: string,
  name: MethodName,
  header: string | undefined = 'true',
): Stream<Message> {
  const method = workloadApiService[name];
  assert.ok(method);
  const client = new Client(`unix:${path}`, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  const metadata = new Metadata();
  if (header !== undefined) metadata.set('workload.spiffe.io', header);
  const call = client.makeServerStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    {},
    metadata,
  ) as ClientReadableStream<Message>;
  const messages: Message[] = [];
  let error: ServiceError | undefined;
  call.on('data', (message: Message) => void messages.push(message));
  call.on('error', (thrown: ServiceError) => {
    error = thrown;
  });
  ends.add(() => {
    call.cancel();
    client.close();
  });
  return { messages, error: () => error };
}

test('WA-2: the first message comes at once and is the full state: id, chain, key, bundle', async (t) => {
  const { ends, serve, ca, run } = await setup(t);
  const path = await serve();
  const stream = open<X509SvidResponse>(ends, path, 'FetchX509SVID');
  await eventually('first message', () => stream.messages.length === 1);
  const [svid, ...others] = stream.messages[0]?.svids ?? [];
  assert.ok(svid && others.length === 0);
  assert.equal(svid.spiffeId, web);
  const key = createPrivateKey({ key: svid.x509SvidKey, format: 'der', type: 'pkcs8' });
  const leaf = new X509Certificate(svid.x509Svid);
  assert.ok(leaf.checkPrivateKey(key));
  const intermediate = svid.x509Svid.subarray(leaf.raw.length);
  assert.equal(ca.peerVerifier.verify([leaf.raw, intermediate]).ok, true);
  const files = { leaf: leaf.raw, intermediate, bundle: svid.bundle };
  for (const [name, der] of Object.entries(files)) await writeFile(join(run, name), pemOf(der));
  const args = ['verify', '-x509_strict', '-CAfile', 'bundle', '-untrusted', 'intermediate', 'leaf'];
  assert.match(execFileSync('openssl', args, { cwd: run }).toString(), /OK/);
});

test('WA-1: a call without the security header is INVALID_ARGUMENT, whatever it asks for', async (t) => {
  const { ends, serve } = await setup(t);
  const path = await serve();
  const names: readonly MethodName[] = ['FetchX509SVID', 'FetchX509Bundles', 'FetchJWTSVID', 'FetchJWTBundles'];
  for (const name of names) {
    for (const header of [undefined, 'false', 'TRUE', '1']) {
      const stream = open(ends, path, name, header ?? '');
      await eventually(`${name} ${header}`, () => stream.error() !== undefined);
      assert.equal(stream.error()?.code, status.INVALID_ARGUMENT, `${name} ${header}`);
      assert.equal(stream.messages.length, 0);
    }
  }
});

test('WA-4: the methods are those of SPIFFE and no others; those for JWTs are UNIMPLEMENTED', async (t) => {
  assert.deepEqual(Object.keys(workloadApiService).sort(), [
    'FetchJWTBundles',
    'FetchJWTSVID',
    'FetchX509Bundles',
    'FetchX509SVID',
    'ValidateJWTSVID',
  ]);
  const { ends, serve } = await setup(t);
  const path = await serve();
  for (const name of ['FetchJWTSVID', 'FetchJWTBundles', 'ValidateJWTSVID'] as const) {
    const stream = open(ends, path, name);
    await eventually(name, () => stream.error() !== undefined);
    assert.equal(stream.error()?.code, status.UNIMPLEMENTED, name);
  }
});

test('WA-2: new members are pushed, each message the full state; a member that is gone is absent', async (t) => {
  const { ends, serve, clock, authority } = await setup(t);
  const path = await serve();
  const svids = open<X509SvidResponse>(ends, path, 'FetchX509SVID');
  const bundles = open<X509BundlesResponse>(ends, path, 'FetchX509Bundles');
  await eventually('both', () => svids.messages.length === 1 && bundles.messages.length === 1);
  assert.deepEqual(Object.keys(bundles.messages[0]?.bundles ?? {}), ['spiffe://east.mesh.example']);

  const joiner = await startTestAgent(ends, { dir: await ends.directory(), authority }, { cluster: west, clock });
  assert.ok(joiner.ca.agentSvid.current);
  const last = (): string[] => Object.keys(bundles.messages.at(-1)?.bundles ?? {}).sort();
  await eventually('west is there', () => last().length === 2);
  await eventually(
    'to workloads too',
    () => svids.messages.at(-1)?.federatedBundles['spiffe://west.mesh.example'] !== undefined,
  );
  assert.equal(svids.messages.at(-1)?.svids.length, 1, 'with the identity, which did not change');
  await authority.setClusterState(west, 'suspended', 'test');
  await eventually('west is withdrawn', () => last().length === 1);
});

test('a renewed SVID is pushed, with a new key', async (t) => {
  // Back-dating by a minute puts half of this life one second ahead.
  const { ends, serve, ca } = await setup(t, 62_000);
  const path = await serve();
  const stream = open<X509SvidResponse>(ends, path, 'FetchX509SVID');
  await eventually('renewed', () => stream.messages.length === 2);
  const [before, after] = stream.messages.map(({ svids }) => svids[0]);
  assert.ok(before && after && !before.x509SvidKey.equals(after.x509SvidKey));
  const leaf = new X509Certificate(after.x509Svid);
  assert.equal(ca.peerVerifier.verify([leaf.raw, after.x509Svid.subarray(leaf.raw.length)]).ok, true);
});

test('a workload of a suspended cluster is told to stop: PERMISSION_DENIED', async (t) => {
  const { ends, serve, ca, authority } = await setup(t);
  const path = await serve();
  const stream = open<X509SvidResponse>(ends, path, 'FetchX509SVID');
  await eventually('first message', () => stream.messages.length === 1);
  await authority.setClusterState(east, 'suspended', 'test');
  // The authority talks to it no longer: it hears by the hub.
  const { sealed, chain } = authority.sealedRoster.current ?? assert.fail('there is a roster');
  ca.acceptRoster(sealed, chain);
  await eventually('told', () => stream.error() !== undefined);
  assert.equal(stream.error()?.code, status.PERMISSION_DENIED);
});

test('an id of the program, of another trust domain or without a path cannot be mapped', async (t) => {
  const { serve, run } = await setup(t);
  const ids = [
    'spiffe://east.mesh.example/isthmus/gateway/gateway-0',
    'spiffe://east.mesh.example/isthmus',
    'spiffe://west.mesh.example/ns/shop/sa/web',
    'spiffe://east.mesh.example',
  ];
  for (const id of ids) {
    await assert.rejects(serve({ id: parseSpiffeId(id) }), { code: 'denied' }, id);
    await assert.rejects(lstat(join(run, 'web')), { code: 'ENOENT' }, 'nothing is made for it');
  }
});

test('WA-3: no TLS and no certificate; a socket lies in a 0700 directory of its user, and nobody else reaches it', async (t) => {
  const { ends, serve, run } = await setup(t);
  const uid = self === 0 ? 65_534 : self;
  const path = await serve({ uid });
  const directory = await lstat(join(path, '..'));
  const socket = await lstat(path);
  assert.deepEqual([directory.uid, directory.mode & 0o777], [uid, 0o700]);
  assert.deepEqual([socket.uid, socket.mode & 0o777], [uid, 0o600]);
  const stream = open<X509SvidResponse>(ends, path, 'FetchX509SVID');
  await eventually('it serves', () => stream.messages.length === 1);
  if (self !== 0) return;
  await chmod(join(run, '..'), 0o711);
  const script = `require('net').connect(${JSON.stringify(path)}).on('connect', () => process.exit(0)).on('error', (e) => { console.log(e.code); process.exit(1) })`;
  const connectAs = (user: number): string => {
    const { status: code, stdout } = spawnSync(process.execPath, ['-e', script], {
      uid: user,
      gid: user,
      encoding: 'utf8',
    });
    return code === 0 ? 'connected' : stdout.trim();
  };
  assert.equal(connectAs(uid), 'connected');
  assert.equal(connectAs(uid - 1), 'EACCES');
});

test('a directory that is open, a link, or of somebody else is refused; a dead socket is replaced', async (t) => {
  const { serve, run } = await setup(t);
  const at = (name: string): Promise<string> => serve({ path: join(run, name, 'api.sock') });
  await mkdir(join(run, 'open'), { mode: 0o750 });
  await assert.rejects(at('open'), /must be closed to others \(0700\): its mode is 750/);
  await mkdir(join(run, 'real'), { mode: 0o700 });
  await symlink(join(run, 'real'), join(run, 'link'));
  await assert.rejects(at('link'), /must be a directory of its own/);
  await writeFile(join(run, 'real', 'api.sock'), '');
  await assert.rejects(at('real'), /it is there and not a socket/);
  await mkdir(join(run, 'shared'));
  await chmod(join(run, 'shared'), 0o777);
  await assert.rejects(at('shared/web'), /writable for nobody else/);
  await assert.rejects(at('x'.repeat(100)), /at most 103 bytes/);
  await assert.rejects(at('none/web'), /none/);
  const script = `require('net').createServer().listen(${JSON.stringify(join(run, 'dead', 'api.sock'))}, () => process.kill(process.pid, 'SIGKILL'))`;
  await mkdir(join(run, 'dead'), { mode: 0o700 });
  spawnSync(process.execPath, ['-e', script]);
  assert.ok((await lstat(join(run, 'dead', 'api.sock'))).isSocket());
  await at('dead');
});
