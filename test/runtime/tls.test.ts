import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type TestContext, test } from 'node:test';
import type { PeerVerdict, Svid, TrustState } from '../../src/model/trust.ts';
import { listenTcp } from '../../src/runtime/io/tcp-server.ts';
import { acceptTls, dialTls, type Secured, secureContextOf, type TlsMaterial } from '../../src/runtime/io/tls.ts';
import { Watchable } from '../../src/runtime/watchable.ts';
import type { Issuer } from '../../src/trust/io/issuer.ts';
import { createPeerVerifier } from '../../src/trust/verify/peer-verifier.ts';
import { leaf, newFederation, now } from '../trust/support/federation.ts';

type Chain = readonly Uint8Array[];

function materialOf(root: Issuer, svid?: Svid): TlsMaterial {
  return { anchors: [root.certificate], ...(svid && { identity: svid }) };
}

interface Handshake {
  /** What the server made of its side: who, or why not. */
  readonly accepted: Promise<Secured<Chain> | Error>;
  readonly port: number;
}

async function serveOne(
  t: TestContext,
  material: TlsMaterial,
  options: {
    readonly check?: (chain: Chain) => Chain;
    readonly clientCertificate?: 'optional';
    readonly timeoutMs?: number;
  } = {},
): Promise<Handshake> {
  const { check = (chain: Chain): Chain => chain, clientCertificate = 'required', timeoutMs = 2000 } = options;
  let settle: (value: Secured<Chain> | Error) => void = () => undefined;
  const accepted = new Promise<Secured<Chain> | Error>((resolve) => {
    settle = resolve;
  });
  const context = secureContextOf(material);
  const server = await listenTcp({ host: '127.0.0.1', port: 0 }, (raw) => {
    raw.on('error', () => undefined);
    acceptTls(raw, { context, alpn: ['h2'], clientCertificate, check, timeoutMs }).then(settle, settle);
  });
  t.after(async () => {
    await server.close();
    // 'close' of a socket follows the one of its server by some turns.
    for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
    assert.equal(server.connections.size, 0);
  });
  return { accepted, port: server.port };
}

function dial(port: number, material: TlsMaterial, unanchored: boolean = false): Promise<Secured<Chain>> {
  return dialTls<Chain>({
    host: '127.0.0.1',
    port,
    context: secureContextOf(material),
    alpn: ['h2'],
    check: (chain) => chain,
    unanchored,
    timeoutMs: 2000,
  });
}

const gatewayOfA = 'spiffe://a.mesh.example/isthmus/gateway/g';
const gatewayOfB = 'spiffe://b.mesh.example/isthmus/gateway/g';

test('the server sees leaf ← intermediate ← root, the client too', async (t) => {
  const { root, ofA, ofB } = newFederation();
  const client = leaf(ofA, { id: gatewayOfA });
  const server = leaf(ofB, { id: gatewayOfB });
  const { accepted, port } = await serveOne(t, materialOf(root, server));
  const dialled = await dial(port, materialOf(root, client));
  const got = await accepted;
  assert.ok(!(got instanceof Error));
  const same = (chain: Chain, expected: Chain): void =>
    assert.deepEqual(
      chain.map((one) => Buffer.from(one)),
      expected.map((one) => Buffer.from(one)),
    );
  same(got.peer, [...client.chain, root.certificate]);
  same(dialled.peer, [...server.chain, root.certificate]);
  assert.equal(got.alpn, 'h2');
  assert.equal(got.socket.isSessionReused(), false);
  assert.equal(got.socket.getProtocol(), 'TLSv1.3');
  dialled.socket.destroy();
});

for (const nameConstraints of [true, false]) {
  test(`a leaf of b minted by a is refused in a handshake (name constraints: ${nameConstraints})`, async (t) => {
    const { root, ofA, ofB, trust } = newFederation(nameConstraints);
    const forged = leaf(ofA, { id: gatewayOfB });
    const verifier = createPeerVerifier(new Watchable<TrustState | undefined>(trust), { now: () => now });
    const check = (chain: Chain): Chain => {
      const verdict: PeerVerdict = verifier.verify(chain);
      if (!verdict.ok) throw new Error(verdict.reason);
      return chain;
    };
    const server = leaf(ofB, { id: gatewayOfB });
    const { accepted, port } = await serveOne(t, materialOf(root, server), { check });
    const dialled = await dial(port, materialOf(root, forged)).catch(() => undefined);
    const refused = await accepted;
    assert.ok(refused instanceof Error);
    // With constraints OpenSSL refuses by itself; without them only the issuer binding does.
    assert.match(refused.message, nameConstraints ? /refused/ : /issuer-binding/);
    dialled?.socket.destroy();
    // As a server it gets no further.
    const fake = await serveOne(t, materialOf(root, forged), { clientCertificate: 'optional' });
    const attempt = dialTls({
      host: '127.0.0.1',
      port: fake.port,
      context: secureContextOf(materialOf(root, server)),
      alpn: ['h2'],
      check,
      timeoutMs: 2000,
    });
    await assert.rejects(attempt, nameConstraints ? /refused/ : /issuer-binding/);
    await fake.accepted;
  });
}

test('no certificate is refused where one is required, and shown as an empty chain where not', async (t) => {
  const { root, ofB } = newFederation();
  const server = leaf(ofB, { id: gatewayOfB });
  const strict = await serveOne(t, materialOf(root, server));
  const first = await dial(strict.port, materialOf(root)).catch(() => undefined);
  const refused = await strict.accepted;
  assert.ok(refused instanceof Error && /no certificate/.test(refused.message));
  first?.socket.destroy();
  const open = await serveOne(t, materialOf(root, server), { clientCertificate: 'optional' });
  const second = await dial(open.port, materialOf(root));
  const got = await open.accepted;
  assert.ok(!(got instanceof Error));
  assert.deepEqual(got.peer, []);
  second.socket.destroy();
});

test('an unanchored dial sees the anchor that the server sends, an ordinary one refuses it', async (t) => {
  const { root, ofB } = newFederation();
  const svid = leaf(ofB, { id: gatewayOfB });
  const withAnchor = { ...svid, chain: [...svid.chain, root.certificate] };
  const server = await serveOne(t, materialOf(root, withAnchor), { clientCertificate: 'optional' });
  const { peer, socket } = await dial(server.port, { anchors: [] }, true);
  assert.deepEqual(Buffer.from(peer.at(-1) ?? new Uint8Array()), Buffer.from(root.certificate));
  socket.destroy();
  await assert.rejects(dial(server.port, { anchors: [] }), { code: 'unauthenticated' });
});

test('a handshake has a deadline, on both sides, and can be aborted', async (t) => {
  const { root, ofB } = newFederation();
  const material = materialOf(root, leaf(ofB, { id: gatewayOfB }));
  const server = await serveOne(t, material, { timeoutMs: 50 });
  const mute = connect(server.port, '127.0.0.1');
  mute.on('error', () => undefined);
  const late = await server.accepted;
  assert.ok(late instanceof Error && /no handshake within 50 ms/.test(late.message));
  await once(mute, 'close');

  const silent = await listenTcp({ host: '127.0.0.1', port: 0 }, (raw) => raw.on('error', () => undefined));
  t.after(() => silent.close());
  const options = {
    host: '127.0.0.1',
    port: silent.port,
    context: secureContextOf(material),
    alpn: ['h2'],
    check: (chain: Chain): Chain => chain,
  };
  await assert.rejects(dialTls({ ...options, timeoutMs: 50 }), { code: 'timeout' });
  const abort = new AbortController();
  const aborted = dialTls({ ...options, timeoutMs: 2000, signal: abort.signal });
  abort.abort(new Error('enough'));
  await assert.rejects(aborted, /enough/);
  await assert.rejects(dialTls({ ...options, timeoutMs: 2000, signal: abort.signal }), /enough/);
});

test('garbage and a refused port end as errors', async (t) => {
  const { root, ofB } = newFederation();
  const server = await serveOne(t, materialOf(root, leaf(ofB, { id: gatewayOfB })));
  const client = connect(server.port, '127.0.0.1', () => client.write('GET / HTTP/1.1\r\n\r\n'));
  client.on('error', () => undefined);
  assert.ok((await server.accepted) instanceof Error);
  client.destroy();
  const gone = await listenTcp({ host: '127.0.0.1', port: 0 }, () => undefined);
  await gone.close();
  await assert.rejects(dial(gone.port, { anchors: [root.certificate] }), { code: 'unavailable' });
});

test('a session is never resumed: each handshake shows the whole chain', async (t) => {
  const { root, ofA, ofB } = newFederation();
  const context = secureContextOf(materialOf(root, leaf(ofB, { id: gatewayOfB })));
  const lengths: number[] = [];
  const check = (chain: Chain): void => void lengths.push(chain.length);
  const server = await listenTcp({ host: '127.0.0.1', port: 0 }, (raw) => {
    raw.on('error', () => undefined);
    const options = { context, alpn: ['h2'], clientCertificate: 'required', timeoutMs: 2000 } as const;
    acceptTls(raw, { ...options, check }).then(
      ({ socket }) => socket.on('error', () => undefined).resume(),
      () => undefined,
    );
  });
  t.after(() => server.close());
  const clientContext = secureContextOf(materialOf(root, leaf(ofA, { id: gatewayOfA })));
  const attempt = async (session?: Buffer): Promise<{ readonly reused: boolean; readonly ticket: Buffer }> => {
    const socket = connectTls({
      host: '127.0.0.1',
      port: server.port,
      secureContext: clientContext,
      ALPNProtocols: ['h2'],
      checkServerIdentity: () => undefined,
      servername: 'isthmus.internal',
      ...(session && { session }),
    });
    // TLS 1.3 sends tickets after the handshake, even ones that will never be honoured.
    const [ticket] = (await once(socket, 'session', { signal: AbortSignal.timeout(2000) })) as [Buffer];
    const reused = socket.isSessionReused();
    socket.destroy();
    return { reused, ticket };
  };
  const { ticket } = await attempt();
  assert.equal((await attempt(ticket)).reused, false);
  assert.deepEqual(lengths, [3, 3]);
});
