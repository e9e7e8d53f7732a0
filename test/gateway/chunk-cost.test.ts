import assert from 'node:assert/strict';
import { createHook } from 'node:async_hooks';
import { once } from 'node:events';
import { type HeapProfiler, Session } from 'node:inspector';
import type { Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { type Backend, startBackend } from '../support/backend.ts';
import { freePort } from '../support/ports.ts';
import { open } from './support/client.ts';
import { createTestCa, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, serviceRoute, startNode, tableOf } from './support/mesh.ts';

/** V8 makes neither a promise nor a closure with less. What is there is one small object for 64 KB that are given back. */
const bytesPerChunk = 40;
/** A timer of the gateway may come in between. */
const promisesPerChunk = 0.02;
const bulkBytes = 96 << 20;
/** At least so many at the gateway that reads a socket, and at the one that reads frames. */
const bulkChunks = bulkBytes / 65_536 + bulkBytes / 16_384;
const messages = 4000;

interface Cost {
  readonly promises: number;
  /** Allocated by functions of files whose address contains `where`, but for timers; also what was collected since. */
  readonly bytes: (where: string) => number;
}

/** What is allocated, by whom, while `act` runs in this process. */
async function costOf(act: () => Promise<void>): Promise<Cost> {
  const session = new Session();
  session.connect();
  let promises = 0;
  const hook = createHook({ init: (_id, type) => void (type === 'PROMISE' && (promises += 1)) });
  const sampling = {
    samplingInterval: 256,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  };
  await new Promise<void>((resolve) => session.post('HeapProfiler.startSampling', sampling, () => resolve()));
  hook.enable();
  await act();
  hook.disable();
  const profile = await new Promise<HeapProfiler.SamplingHeapProfile>((resolve, reject) => {
    session.post('HeapProfiler.stopSampling', (error, result) => (error ? reject(error) : resolve(result.profile)));
  });
  session.disconnect();
  const bytesIn = ({ callFrame, selfSize, children }: HeapProfiler.SamplingHeapProfileNode, where: string): number =>
    callFrame.functionName === 'processTimers'
      ? 0
      : children.reduce((sum, child) => sum + bytesIn(child, where), callFrame.url.includes(where) ? selfSize : 0);
  return { promises, bytes: (where) => bytesIn(profile.head, where) };
}

/** Sends as much as `f<count>` asks for, then answers each byte with one. */
function serve(socket: Socket): void {
  let asked = '';
  socket.on('data', function take(chunk: Buffer) {
    asked += chunk.toString('latin1');
    if (!asked.endsWith('\n')) return;
    socket.off('data', take).on('data', (byte: Buffer) => void socket.write(byte));
    const block = Buffer.alloc(65_536, 7);
    let left = Number(asked);
    const fill = (): void => {
      while (left > 0) {
        left -= block.length;
        if (!socket.write(block)) return void socket.once('drain', fill);
      }
    };
    fill();
  });
}

describe('a chunk that is carried', { timeout: 60_000 }, () => {
  let ca: TestCa;
  let west: Node;
  let east: Node;
  let backend: Backend;
  let importPort: number;

  before(async () => {
    ca = createTestCa();
    const options = { ca, clusters: ['west', 'east'] };
    [west, east] = await Promise.all([startNode('west', options), startNode('east', options)]);
    backend = await startBackend(serve);
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port] })], []));
    importPort = await freePort();
    const imported = serviceRoute({ self: 'west', importPort, remote: ['east'], exported: false });
    west.table.set(tableOf(west, [imported], [clusterRoute([east])]));
    await linksUp(west, 1);
  });

  after(async () => {
    await Promise.all([west.gateway.close(), east.gateway.close(), backend.close()]);
    ca.close();
  });

  /** Resolves when so many bytes have come; `each` sees every chunk. */
  function received(socket: Socket, bytes: number, each: () => void): Promise<void> {
    return new Promise((resolve) => {
      let got = 0;
      socket.on('data', (chunk: Buffer) => {
        each();
        got += chunk.length;
        if (got >= bytes) resolve();
      });
    });
  }

  async function bulk(socket: Socket, bytes: number, each: () => void = () => undefined): Promise<void> {
    const coming = received(socket, bytes, each);
    socket.write(`${bytes}\n`);
    await coming;
    socket.removeAllListeners('data');
  }

  async function pingPong(socket: Socket, count: number): Promise<void> {
    await new Promise<void>((resolve) => {
      let left = count;
      socket.on('data', () => {
        left -= 1;
        if (left === 0) resolve();
        else socket.write('x');
      });
      socket.write('x');
    });
  }

  it('costs no promise and no closure of the gateways, in bulk', async (t) => {
    const warm = await open(importPort);
    await bulk(warm, 8 << 20);
    warm.destroy();
    const socket = await open(importPort);
    const { promises, bytes } = await costOf(() => bulk(socket, bulkBytes));
    socket.destroy();
    assert.ok(promises / bulkChunks < promisesPerChunk, `${promises} promises for ${bulkChunks} chunks`);
    const ours = bytes('/src/') / bulkChunks;
    assert.ok(ours < bytesPerChunk, `${ours.toFixed(1)} bytes a chunk`);
    t.diagnostic(`${ours.toFixed(1)} bytes and ${(promises / bulkChunks).toFixed(4)} promises a chunk`);
  });

  it('costs no promise and no closure of the gateways, one by one', async () => {
    const socket = await open(importPort);
    await bulk(socket, 65_536);
    const { promises, bytes } = await costOf(() => pingPong(socket, messages));
    socket.destroy();
    assert.ok(promises / messages < promisesPerChunk, `${promises} promises for ${messages} messages`);
    // There and back, through both.
    const ours = bytes('/src/') / (messages * 4);
    assert.ok(ours < bytesPerChunk, `${ours.toFixed(1)} bytes a chunk`);
  });

  it('would be seen to cost one', async () => {
    const socket = await open(importPort);
    const kept: unknown[] = [];
    let chunks = 0;
    const { promises, bytes } = await costOf(() =>
      bulk(socket, 16 << 20, () => {
        chunks += 1;
        kept.push(Promise.resolve(chunks));
        kept.push(() => chunks);
      }),
    );
    socket.destroy();
    await once(socket, 'close');
    assert.ok(promises >= chunks, `${promises} promises for ${chunks} chunks`);
    assert.ok(bytes('/test/gateway/chunk-cost') / chunks > bytesPerChunk);
  });
});
