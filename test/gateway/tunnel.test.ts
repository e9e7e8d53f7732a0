import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { type Backend, echo, startBackend } from '../support/backend.ts';
import { failOnLeak, openDescriptors } from '../support/leak.ts';
import { freePort } from '../support/ports.ts';
import { exchange, open, readToEnd } from './support/client.ts';
import { createTestCa, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, quiet, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';

describe('a tunnelled connection', () => {
  let ca: TestCa;
  let west: Node;
  let east: Node;
  let importPort: number;
  let serve: Parameters<typeof startBackend>[0] = echo;
  let backend: Backend;

  before(async () => {
    ca = createTestCa();
    const options = { ca, clusters: ['west', 'east'] };
    [west, east] = await Promise.all([startNode('west', options), startNode('east', options)]);
    backend = await startBackend((socket) => serve(socket));
    importPort = await freePort();
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port] })], []));
    const imported = serviceRoute({ self: 'west', importPort, remote: ['east'], exported: false });
    west.table.set(tableOf(west, [imported], [clusterRoute([east])]));
    await linksUp(west, 1);
    await until('import port', () => west.gateway.importPorts().has('shop/web:80'));
  });

  after(async () => {
    await Promise.all([west.gateway.close(), east.gateway.close(), backend.close()]);
    ca.close();
  });

  it('carries every byte in order, whatever the chunks', async () => {
    serve = echo;
    await Promise.all(
      Array.from({ length: 6 }, async () => {
        const socket = await open(importPort);
        const ending = readToEnd(socket);
        const sent = createHash('sha256');
        for (let chunk = 0; chunk < 120; chunk += 1) {
          const bytes = randomBytes(1 + Math.floor(Math.random() ** 4 * 60_000));
          sent.update(bytes);
          if (!socket.write(bytes)) await once(socket, 'drain');
        }
        socket.end();
        const { received, end } = await ending;
        assert.equal(end, 'eof');
        assert.equal(createHash('sha256').update(received).digest('hex'), sent.digest('hex'));
      }),
    );
  });

  it('half-closes from the client: the server answers after the end of file', async () => {
    serve = (socket) => {
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      socket.on('end', () => socket.end(`got ${Buffer.concat(chunks).length}`));
    };
    const { received, end } = await exchange(importPort, randomBytes(200_000));
    assert.deepEqual({ text: received.toString(), end }, { text: 'got 200000', end: 'eof' });
  });

  it('half-closes from the server: the client goes on sending', async () => {
    let got = 0;
    serve = (socket) => {
      socket.end('bye');
      socket.on('data', (chunk: Buffer) => {
        got += chunk.length;
      });
    };
    const socket = await open(importPort);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'end');
    socket.end(randomBytes(50_000));
    await once(socket, 'close');
    await until('the rest to arrive', () => got === 50_000);
    assert.equal(Buffer.concat(chunks).toString(), 'bye');
  });

  it('shows a reset of the server as a reset', async () => {
    serve = (socket) => {
      socket.write('some', () => setTimeout(() => socket.resetAndDestroy(), 20));
    };
    const socket = await open(importPort);
    assert.equal((await readToEnd(socket)).end, 'reset');
  });

  it('shows a reset of the server as a reset also after the client has half-closed', async () => {
    serve = (socket) => {
      socket.resume().on('end', () => socket.write('some', () => setTimeout(() => socket.resetAndDestroy(), 20)));
    };
    assert.equal((await exchange(importPort, 'x')).end, 'reset');
  });

  it('shows a reset of the client as a reset', async () => {
    const seen = new Promise<string>((resolve) => {
      serve = (socket) => {
        socket.on('data', () => undefined).on('end', () => resolve('eof'));
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
      };
    });
    const socket = await open(importPort);
    socket.write('some');
    await until('the backend to be connected', () => backend.connections.size > 0);
    setTimeout(() => socket.resetAndDestroy(), 20);
    assert.equal(await seen, 'ECONNRESET');
  });

  it('holds back a sender whose receiver does not read', async () => {
    serve = (socket) => void socket.pause();
    const socket = await open(importPort);
    const chunk = randomBytes(65_536);
    let sent = 0;
    for (let quiet = 0; quiet < 10; ) {
      if (socket.writableLength < 1_000_000) {
        socket.write(chunk);
        sent += chunk.length;
        quiet = 0;
      } else quiet += 1;
      await new Promise((resolve) => setTimeout(resolve, 10));
      // Two stream windows, kernel buffers on both sides, and what waits here: far below what was offered.
      assert.ok(sent < 64 << 20, `${sent} bytes were taken although nobody reads`);
    }
    socket.resetAndDestroy();
    for (const stalled of backend.connections) stalled.destroy();
  });

  it('writes one access-log entry at each gateway', async () => {
    serve = echo;
    await quiet(west, east);
    west.access.length = 0;
    east.access.length = 0;
    await exchange(importPort, 'hello');
    await until('both entries', () => west.access.length === 1 && east.access.length === 1);
    const [out] = west.access;
    const [inn] = east.access;
    assert.ok(out && inn);
    assert.deepEqual(
      [out.direction, out.response_flags, out.bytes_received, out.bytes_sent, out.destination_cluster],
      ['outbound', '-', 5, 5, 'east'],
    );
    assert.deepEqual(
      [inn.direction, inn.response_code, inn.peer_identity, inn.source_cluster, inn.destination_service],
      ['inbound', 200, 'spiffe://west.mesh.test/isthmus/gateway/gw0', 'west', 'shop/web'],
    );
  });

  it('carries 2,000 mixed connections and leaves no descriptor behind', async (t) => {
    serve = (socket) => {
      socket.once('data', (chunk: Buffer) => {
        if (chunk[0] === 0) socket.resetAndDestroy();
        else if (chunk[0] === 1) socket.end(chunk);
        else socket.write(chunk);
      });
      socket.on('end', () => socket.end());
    };
    await quiet(west, east);
    const leak = failOnLeak(t, 5000);
    const before = openDescriptors();
    const one = async (index: number): Promise<void> => {
      const socket = await open(importPort);
      const size = 1 + Math.floor(Math.random() * 30_000);
      socket.write(Buffer.alloc(size, index % 4));
      if (index % 4 === 3) {
        await once(socket, 'data');
        if (index % 8 === 3) socket.resetAndDestroy();
        else socket.destroy();
        return;
      }
      const ending = readToEnd(socket);
      if (index % 4 === 2) socket.end();
      await ending;
    };
    const workers = Array.from({ length: 50 }, async (_, worker) => {
      for (let round = 0; round < 40; round += 1) await one(worker * 40 + round);
    });
    await Promise.all(workers);
    await leak.check();
    assert.equal(openDescriptors(), before);
    await quiet(west, east);
  });
});
