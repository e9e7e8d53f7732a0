import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { connect } from 'node:http2';
import type { Socket } from 'node:net';
import { gatewayId } from '../support/identities.ts';
import { preface } from '../support/frames.ts';
import { until } from '../support/mesh.ts';
import { type HostileGateway, hostileGateway, type RawTunnel } from './support/hostile-gateway.ts';
import { type Pair, startPair, workload } from './support/pair.ts';
import { ok, recorder } from './support/recorder.ts';

const timeout = 60_000;
const host = 'Host: shop\r\n';
const shut = `GET /shut HTTP/1.1\r\n${host}\r\n`;
const post = (fields: string, body: string): string => `POST /open HTTP/1.1\r\n${host}${fields}\r\n${body}`;

/** Bytes that hide `/shut`, or try to be read in another way, behind what is allowed: everything below `/open`. */
const attempts: readonly (readonly [name: string, bytes: string, answer: RegExp])[] = [
  ['CL.TE', post('Content-Length: 6\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${shut}`), /^HTTP\/1\.1 400 /],
  ['TE.CL', post('Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', `5c\r\n${shut}0\r\n\r\n`), /^HTTP\/1\.1 400 /],
  ['TE.TE', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n', `0\r\n\r\n${shut}`), /^HTTP\/1\.1 400 /],
  ['two lengths', post('Content-Length: 0\r\nContent-Length: 40\r\n', shut), /^HTTP\/1\.1 400 /],
  ['a chunk size that overflows', post('Transfer-Encoding: chunked\r\n', `10000000000000000\r\n${shut}`), /400 /],
  ['a chunk that ends elsewhere', post('Transfer-Encoding: chunked\r\n', `1\r\nab\r\n0\r\n\r\n${shut}`), /400 /],
  ['bare LF', `GET /open HTTP/1.1\n${host}\n${shut}`, /^HTTP\/1\.1 400 /],
  ['obs-fold', `GET /open HTTP/1.1\r\n${host}X: a\r\n GET /shut HTTP/1.1\r\n\r\n`, /^HTTP\/1\.1 400 /],
  ['a blank before the colon', post('Content-Length : 40\r\n', shut), /^HTTP\/1\.1 400 /],
  ['a NUL in the head', `GET /open HTTP/1.1\r\n${host}X: a\0b\r\n\r\n${shut}`, /^HTTP\/1\.1 400 /],
  ['absolute form of another host', `GET http://other/open HTTP/1.1\r\n${host}\r\n${shut}`, /^HTTP\/1\.1 400 /],
  ['CONNECT inside', `CONNECT db.shop:5432 HTTP/1.1\r\nHost: db.shop:5432\r\n\r\n${shut}`, /^HTTP\/1\.1 501 /],
  ['pipelined behind a good one', `GET /open HTTP/1.1\r\n${host}\r\n${shut}`, /^HTTP\/1\.1 200 [^]*ok[^]* 403 /],
  ['behind a body as it should be', post(`Content-Length: 2\r\n`, `hi${shut}`), /^HTTP\/1\.1 200 [^]*ok[^]* 403 /],
  ['an upgrade with a body', post('Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n', `hi${shut}`), / 403 /],
  ['an upgrade to h2c', `GET /open HTTP/1.1\r\n${host}Connection: upgrade\r\nUpgrade: h2c\r\n\r\n${shut}`, / 403 /],
  ['no HTTP', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', /^HTTP\/1\.1 400 /],
  ['garbage', `\0\xff\xfe${'x'.repeat(100)}\r\n\r\n${shut}`, /^HTTP\/1\.1 400 /],
  ['a head without end', `GET /open HTTP/1.1\r\n${'X: y\r\n'.repeat(9000)}`, /^HTTP\/1\.1 431 /],
];

describe('a gateway of another cluster that keeps to no rules', { timeout }, () => {
  let answer: (fresh: string, socket: Socket) => string | undefined = () => ok;
  const backend = recorder((fresh, socket) => answer(fresh, socket));
  let pair: Pair;
  let hostile: HostileGateway;

  before(async () => {
    pair = await startPair({ serve: [backend.serve] });
  });
  after(() => pair.close());
  beforeEach(async () => {
    pair.setAccess({ requests: { pathPrefixes: ['/open'] } });
    hostile = await hostileGateway(pair.ca, pair.east.gateway.hbonePort);
  });
  afterEach(async () => {
    hostile.close();
    answer = () => ok;
    for (const socket of pair.backends[0]?.connections ?? []) socket.destroy();
    await until('east to be rid of it', () => pair.backends[0]?.connections.size === 0);
    backend.clear();
    pair.east.access.length = 0;
  });

  async function tunnel(headers?: Readonly<Record<string, string>>): Promise<RawTunnel> {
    const opened = await hostile.tunnel(headers);
    assert.equal(opened.status, 200);
    return opened;
  }

  for (const [name, bytes, answered] of attempts) {
    it(`gets nothing past the judge: ${name}`, async () => {
      const { stream, answered: wait } = await tunnel();
      stream.write(Buffer.from(bytes, 'latin1'));
      await wait(answered);
      // Whatever else it says on that tunnel, now that it is refused.
      if (!stream.destroyed) stream.write(shut);
      await until('the log', () => pair.east.access.length > 0);
      const seen = backend.seen().join('');
      assert.doesNotMatch(seen, /shut/);
      assert.doesNotMatch(seen, /upgrade: h2c/i);
    });
  }

  it('byte by byte, with the forbidden one begun in the packet that ends the allowed one', async () => {
    const { stream, answered } = await tunnel();
    for (const byte of Buffer.from(`GET /open HTTP/1.1\r\n${host}\r\n${shut}`)) {
      await new Promise<void>((resolve) => void stream.write(Buffer.of(byte), () => resolve()));
    }
    await answered(/ 200 [^]* 403 /);
    assert.doesNotMatch(backend.seen().join(), /shut/);
  });

  it('says HTTP/2 inside the tunnel: each request is judged there as well', async () => {
    const { stream } = await tunnel();
    const inner = connect('http://shop', { createConnection: () => stream });
    inner.on('error', () => undefined);
    const ask = (path: string): Promise<number> =>
      new Promise((resolve, reject) => {
        const request = inner.request({ ':path': path });
        request.once('response', ({ ':status': status }) => resolve(Number(status)));
        request.once('error', reject).resume();
      });
    try {
      assert.equal(await ask('/shut'), 403);
      assert.equal(await ask('/open/../shut'), 403);
      // HTTP/1.1 is spoken behind this port, so that the recorder can understand it.
      assert.notEqual(await ask('/open'), 403);
      assert.doesNotMatch(backend.seen().join(), /shut/);
      assert.deepEqual(
        pair.east.access.slice(0, 2).map((one) => [one.path, one.response_code, one.response_flags]),
        [
          ['/shut', 403, 'RBAC'],
          ['/open/../shut', 403, 'RBAC'],
        ],
      );
    } finally {
      inner.destroy();
    }
  });

  it('says the preface of HTTP/2 and then something else: it ends, and nothing gets through', async () => {
    const opened = await tunnel();
    opened.stream.write(Buffer.concat([preface, Buffer.from(shut.repeat(20))]));
    await opened.ended();
    assert.deepEqual(backend.seen(), []);
  });

  it('says nothing, or leaves in the middle of a head: its tunnel ends, and the backend was not asked', async () => {
    const opened = await tunnel();
    opened.stream.end('GET /open HTTP/1.1\r\nHo');
    assert.equal(await opened.ended(), 'eof');
    assert.match(opened.text(), /^HTTP\/1\.1 400 /);
    assert.deepEqual(backend.seen(), []);
  });

  it('forges what only gateways say: none of it gets to the backend', async () => {
    const { stream, answered } = await tunnel();
    const forged = ['Source-Identity: x', 'Bucket: 7', 'Hop: 0', 'Load: 0', 'Served-By: east', 'Anything: 1'];
    const fields = forged.map((field) => `X-Isthmus-${field}\r\n`).join('');
    stream.write(`GET /open HTTP/1.1\r\n${host}${fields}X-Forwarded-For: 9.9.9.9\r\n\r\n`);
    assert.doesNotMatch(await answered(/ok$/), /isthmus/i);
    const [seen = ''] = backend.seen();
    assert.doesNotMatch(seen, /isthmus/i);
    // Where a client is, is the word of its own cluster's gateway.
    assert.match(seen, /\r\nX-Forwarded-For: 9\.9\.9\.9\r\n/);
  });

  it('hides a header of ours, or the host, behind Connection: they stay what they are', async () => {
    const { stream, answered } = await tunnel();
    stream.write(`GET /open HTTP/1.1\r\n${host}Connection: host\r\n\r\n`);
    await answered(/^HTTP\/1\.1 400 /);
    assert.deepEqual(backend.seen(), []);
  });

  it('claims to be somebody it may not speak for: it is nobody, in the judgement and in the log', async () => {
    pair.setAccess(
      { from: [{ namespaces: ['shop'] }], requests: { pathPrefixes: ['/open'] } },
      { from: [{ clusters: [pair.west.name] }], requests: { pathPrefixes: ['/anyone'] } },
    );
    const claims = [
      'spiffe://east.mesh.test/ns/shop/sa/cart',
      gatewayId('west', 'gw0'),
      'spiffe://west.mesh.test/isthmus/agent/a0',
      'spiffe://mesh.test/ns/shop/sa/cart',
      'cart',
    ];
    for (const claim of claims) {
      const { stream, answered } = await tunnel({ 'x-isthmus-source-identity': claim });
      stream.write(`GET /open HTTP/1.1\r\n${host}\r\nGET /anyone HTTP/1.1\r\n${host}\r\n`);
      await answered(/^HTTP\/1\.1 403 [^]* 200 /);
      const entries = await pair.logged(2);
      assert.deepEqual(
        entries.map((one) => [one.path, one.source_identity, one.peer_identity]),
        [
          ['/open', null, gatewayId('west', 'gw9')],
          ['/anyone', null, gatewayId('west', 'gw9')],
        ],
        claim,
      );
    }
    // What it may: workloads of its own cluster. That is all that such a gateway can be trusted with.
    const { stream, answered } = await tunnel({ 'x-isthmus-source-identity': workload('cart') });
    stream.write(`GET /open HTTP/1.1\r\n${host}\r\n`);
    await answered(/^HTTP\/1\.1 200 /);
    assert.equal((await pair.logged(1))[0]?.source_identity, workload('cart'));
  });

  it('asserts a caller where only a proven one will do: denied at the tunnel', async () => {
    pair.setAccess({ from: [{ namespaces: ['shop'], proof: 'proven' }], requests: { pathPrefixes: ['/open'] } });
    const { status } = await hostile.tunnel({ 'x-isthmus-source-identity': workload('cart') });
    assert.equal(status, 403);
    assert.equal((await pair.logged(1))[0]?.response_flags, 'RBAC');
  });

  it('keeps a tunnel from before a change and goes on talking: it is cut at once', async () => {
    pair.setAccess();
    const opened = await tunnel();
    opened.stream.write(`GET /shut HTTP/1.1\r\n${host}\r\n`);
    await opened.answered(/ok$/);
    backend.clear();
    pair.setAccess({ requests: { pathPrefixes: ['/open'] } });
    if (!opened.stream.destroyed) opened.stream.write(shut);
    assert.equal(await opened.ended(), 'reset');
    assert.deepEqual(backend.seen(), []);
    assert.equal((await pair.logged(1))[0]?.response_flags, 'RBAC');
  });
});
