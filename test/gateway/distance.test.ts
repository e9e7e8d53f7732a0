import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { GatewayLimits } from '../../src/gateway/limits.ts';
import { type Backend, startBackend } from '../support/backend.ts';
import { freePort } from '../support/ports.ts';
import { open } from './support/client.ts';
import { type DelayingProxy, type InFlight, startDelayingProxy } from './support/delaying-proxy.ts';
import { createTestCa, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, serviceRoute, startNode, tableOf } from './support/mesh.ts';

const oneWayMs = 100;
const mebibyte = 1 << 20;
/** Of what waits in frames and TLS records beside the bytes themselves, and in the sockets at both ends. */
const overhead = 1.1;

/** Sends as much as the first line asks for; of a line with 0 it takes everything, and says how much at the end. */
function serve(socket: Socket): void {
  socket.once('data', (first: Buffer) => {
    const head = first.indexOf('\n') + 1;
    const asked = Number(first.subarray(0, head).toString());
    if (asked > 0) return void socket.end(Buffer.alloc(asked, 7));
    let got = first.length - head;
    socket.on('data', (chunk: Buffer) => (got += chunk.length)).on('end', () => socket.end(String(got)));
  });
}

describe('over a long way', { timeout: 60_000 }, () => {
  let ca: TestCa;
  let nodes: Node[];
  let backend: Backend;
  let way: DelayingProxy;

  beforeEach(async () => {
    ca = createTestCa();
    nodes = [];
    backend = await startBackend(serve);
  });

  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.gateway.close()));
    await Promise.all([way.close(), backend.close()]);
    ca.close();
  });

  /** @returns the import port of a service behind a long round trip */
  async function farAway(limits: Partial<GatewayLimits>): Promise<number> {
    const options = { ca, clusters: ['west', 'east'], limits };
    const [west, east] = await Promise.all([startNode('west', options), startNode('east', options)]);
    nodes.push(west, east);
    way = await startDelayingProxy(east.gateway.hbonePort, oneWayMs);
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port] })], []));
    const importPort = await freePort();
    const imported = serviceRoute({ self: 'west', importPort, remote: ['east'], exported: false });
    west.table.set(tableOf(west, [imported], [clusterRoute([east], way.port)]));
    await linksUp(west, 1);
    return importPort;
  }

  async function download(importPort: number, bytes: number): Promise<void> {
    const socket = await open(importPort);
    let got = 0;
    socket.on('data', (chunk: Buffer) => (got += chunk.length)).write(`${bytes}\n`);
    await once(socket, 'end');
    socket.end();
    assert.equal(got, bytes);
  }

  async function upload(importPort: number, bytes: number): Promise<void> {
    const socket = await open(importPort);
    let said = '';
    socket.on('data', (chunk: Buffer) => (said += chunk.toString()));
    socket.write('0\n');
    socket.end(Buffer.alloc(bytes, 7));
    await once(socket, 'end');
    assert.equal(said, String(bytes));
  }

  /**
   * The most that was ever on the way while `transfer` ran, again and again until it is at least so much: on a busy
   * machine a window may have gone before the rest of it could follow.
   */
  async function filled(
    direction: keyof InFlight,
    { windowBytes, part }: { readonly windowBytes: number; readonly part: number },
    transfer: () => Promise<unknown>,
  ): Promise<void> {
    const deadline = performance.now() + 15_000;
    let most = 0;
    way.mostInFlight();
    do {
      await transfer();
      most = Math.max(most, way.mostInFlight()[direction]);
    } while (most < windowBytes * part && performance.now() < deadline);
    assert.ok(most > windowBytes * part, `${most} bytes ${direction}, of a window of ${windowBytes}`);
    assert.ok(most < windowBytes * overhead, `${most} bytes ${direction}, of a window of ${windowBytes}`);
  }

  for (const [what, windowBytes] of [
    ['a whole default window', mebibyte],
    ['the window of the configuration', mebibyte / 4],
  ] as const) {
    it(`${what} of one connection is on the way, and not more`, async () => {
      const importPort = await farAway({ streamWindowBytes: windowBytes });
      await filled('down', { windowBytes, part: 0.9 }, () => download(importPort, 4 * windowBytes));
      await filled('up', { windowBytes, part: 0.9 }, () => upload(importPort, 4 * windowBytes));
    });
  }

  it('all connections together have no more on the way than the window of the session', async () => {
    const importPort = await farAway({ sessionsPerGateway: 1, sessionWindowBytes: 2 * mebibyte });
    const eight = (): Promise<unknown> => Promise.all(Array.from({ length: 8 }, () => download(importPort, mebibyte)));
    // More than one of them may have.
    await filled('down', { windowBytes: 2 * mebibyte, part: 0.6 }, eight);
  });

  it('a window after the other arrives, not a frame after the other', async (t) => {
    const importPort = await farAway({});
    const started = performance.now();
    await download(importPort, 8 * mebibyte);
    const roundTrips = (performance.now() - started) / (2 * oneWayMs);
    t.diagnostic(`8 windows in ${roundTrips.toFixed(1)} round trips`);
    // Without larger windows than HTTP/2 begins with it would be 128.
    assert.ok(roundTrips < 64, `${roundTrips} round trips`);
  });
});
