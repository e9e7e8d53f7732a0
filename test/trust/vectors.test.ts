import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { connect, createServer } from 'node:tls';
import { promisify } from 'node:util';
import { parseTrustDomain } from '../../src/model/identity.ts';
import { makeVectors, type Vector, writeVectors } from '../../src/trust/io/vectors.ts';
import type { VectorPeer } from '../../src/trust/vectors/vector-case.ts';
import { checkTime, verifyPath } from '../../src/trust/verify/path.ts';
import { rules } from '../../src/trust/verify/rules.ts';
import { trustOf } from '../../src/trust/verify/trust-state.ts';
import { encodePemChain } from '../../src/trust/x509/pem.ts';
import { temporaryDir } from './support/environment.ts';

const run = promisify(execFile);
const now = Date.now();
const vectors = makeVectors(now);

type Answer = 'accept' | 'reject';

/** What a peer is expected to answer: as we do, unless it is known to disagree. */
function expectedOf({ spec }: Vector, peer: VectorPeer): Answer {
  const other = spec.expected === 'accept' ? 'reject' : 'accept';
  return spec.disagree[peer] === undefined ? spec.expected : other;
}

function pem(chain: readonly Uint8Array[]): string {
  return Buffer.from(encodePemChain(chain)).toString('latin1');
}

/** Whether a client of Node accepts a server with this chain. One that cannot even load it does not. */
async function nodeAnswer({ chain, anchors, leafKeyPem }: Vector): Promise<Answer> {
  let server: ReturnType<typeof createServer>;
  try {
    server = createServer({ cert: pem(chain), key: leafKeyPem, minVersion: 'TLSv1.3' }, (socket) => {
      socket.on('error', () => undefined).end();
    });
  } catch {
    return 'reject';
  }
  server.on('tlsClientError', () => undefined);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as { port: number };
  try {
    const socket = connect({
      port,
      host: '127.0.0.1',
      ca: pem(anchors),
      checkServerIdentity: () => undefined,
      minVersion: 'TLSv1.3',
    });
    await once(socket, 'secureConnect');
    socket.destroy();
    return 'accept';
  } catch {
    return 'reject';
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

async function opensslAnswer(dir: string, name: string): Promise<Answer> {
  const [leaf = '', ...rest] = (await readFile(join(dir, name, 'chain.pem'), 'latin1')).split(
    /(?<=-----END CERTIFICATE-----\n)/,
  );
  const untrusted = rest.length === 0 ? [] : ['-untrusted', join(dir, name, 'chain.pem')];
  const anchors = ['-no-CApath', '-no-CAstore', '-CAfile', join(dir, name, 'anchors.pem')];
  const child = run('openssl', ['verify', '-x509_strict', ...anchors, ...untrusted]);
  child.child.stdin?.on('error', () => undefined).end(leaf);
  return child.then(
    () => 'accept',
    () => 'reject',
  );
}

suite('vectors', () => {
  test('each is answered by our verifier as it says, by the rule it says', () => {
    for (const { spec, chain, anchors } of vectors) {
      const trust = trustOf({ trustDomain: parseTrustDomain(spec.trustDomain), sequence: 0, anchors });
      const path = verifyPath(chain, trust, { binding: spec.binding });
      const refused = path.ok ? checkTime(path, now) : path;
      const rule = spec.rule.startsWith('ID-') ? 'XV-3' : spec.rule;
      const expected = spec.expected === 'accept' ? 'accept' : `reject by ${rule}`;
      assert.equal(refused ? `reject by ${refused.rule}` : 'accept', expected, `${spec.name}: ${refused?.detail}`);
    }
  });

  test('every rule about chains is asked about, in both directions where it can be', () => {
    const asked = (expected: Answer): Set<string> =>
      new Set(vectors.filter(({ spec }) => spec.expected === expected).map(({ spec }) => spec.rule));
    const refused = asked('reject');
    for (const rule of Object.keys(rules)) {
      // A roster decides by these; no vector has one.
      if (['IS-2', 'IS-3', 'IS-4', 'IS-5', 'XV-3'].includes(rule)) continue;
      assert.ok(refused.has(rule), `no vector is refused by ${rule}`);
    }
    assert.equal(new Set(vectors.map(({ spec }) => spec.name)).size, vectors.length);
  });

  test('OpenSSL and Node answer as expected, the known disagreements included', async (t) => {
    const dir = join(await temporaryDir(t), 'vectors');
    await writeVectors(dir, now);
    const wrong: string[] = [];
    for (const vector of vectors) {
      const { name } = vector.spec;
      const [openssl, node] = await Promise.all([opensslAnswer(dir, name), nodeAnswer(vector)]);
      if (openssl !== expectedOf(vector, 'openssl')) wrong.push(`${name}: openssl ${openssl}s`);
      if (node !== expectedOf(vector, 'node')) wrong.push(`${name}: node ${node}s`);
    }
    assert.deepEqual(wrong, []);
  });

  test('writeVectors writes what its index says, and overwrites nothing', async (t) => {
    const dir = join(await temporaryDir(t), 'new');
    const written = await writeVectors(dir, now);
    const index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8')) as {
      vectors: { name: string; chain: string; anchors: string; key: string; rule: string; source: string }[];
    };
    assert.deepEqual(
      index.vectors.map(({ name }) => name),
      written.map(({ name }) => name),
    );
    for (const { chain, anchors, key, source } of index.vectors) {
      assert.match(await readFile(join(dir, chain), 'utf8'), /^-----BEGIN CERTIFICATE-----\n/);
      assert.match(await readFile(join(dir, anchors), 'utf8'), /^-----BEGIN CERTIFICATE-----\n/);
      assert.match(await readFile(join(dir, key), 'utf8'), /^-----BEGIN PRIVATE KEY-----\n/);
      assert.notEqual(source, '');
    }
    await assert.rejects(writeVectors(dir, now), { code: 'conflict' });
  });
});
