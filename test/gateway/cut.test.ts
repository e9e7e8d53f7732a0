import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Backend, echo, startBackend } from '../support/backend.ts';
import { failOnLeak } from '../support/leak.ts';
import { freePort } from '../support/ports.ts';
import { exchange } from './support/client.ts';
import { type Cut, startCuttingProxy } from './support/cutting-proxy.ts';
import { createTestCa, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, quiet, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';

/** Bytes between two cuts. `ISTHMUS_CUT_STEP=1` for each single byte. */
const step = Number(process.env['ISTHMUS_CUT_STEP'] ?? 60);
/** Handshake, settings and the first tunnelled bytes are within, in either direction. */
const reach = 4000;
const links = 32;
const workers = 8;

const cuts: readonly Cut[] = Array.from({ length: Math.ceil(reach / step) }, (_, index) => 1 + index * step).flatMap(
  (afterBytes) =>
    (['client', 'server'] as const).flatMap((from) =>
      (['reset', 'end', 'silence'] as const).map((how) => ({ from, afterBytes, how })),
    ),
);

describe('two gateways whose connections', () => {
  let ca: TestCa;
  let west: Node;
  let east: Node;
  let backend: Backend;
  let importPort: number;

  before(async () => {
    ca = createTestCa();
    const limits = {
      handshakeTimeoutMs: 1500,
      silenceMs: 800,
      inboundSilenceMs: 1200,
      idlePingIntervalMs: 200,
      reconnectMaxMs: 50,
      sessionsPerPeer: 1000,
      handshakesPerAddress: 1000,
    };
    const options = { ca, clusters: ['west', 'east'], limits };
    [west, east] = await Promise.all([startNode('west', options), startNode('east', options)]);
    backend = await startBackend(echo);
    importPort = await freePort();
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port] })], []));
  });

  after(async () => {
    await Promise.all([west.gateway.close(), east.gateway.close(), backend.close()]);
    ca.close();
  });

  it(`break at any byte (${cuts.length} of them): nothing wrong arrives, nothing stays, all is well afterwards`, async (t) => {
    const leak = failOnLeak(t, 20_000);
    const proxy = await startCuttingProxy(east.gateway.hbonePort, cuts, 3000);
    const route = clusterRoute(
      Array.from({ length: links }, () => east),
      proxy.port,
    );
    const imported = serviceRoute({ self: 'west', importPort, remote: ['east'], exported: false });
    let served = 0;
    let cut = 0;
    const worker = async (number: number): Promise<void> => {
      for (let turn = 0; proxy.left() > 0; turn += 1) {
        const sent = Buffer.from(`${number}/${turn} `.repeat(60));
        const { received, end } = await exchange(importPort, sent);
        assert.ok(sent.subarray(0, received.length).equals(received), 'what came is what was sent');
        if (end === 'reset') cut += 1;
        else {
          assert.equal(received.length, sent.length, 'a clean end comes after everything');
          served += 1;
        }
      }
    };
    try {
      west.table.set(tableOf(west, [imported], [route]));
      await until('the import port', () => west.gateway.importPorts().size === 1);
      await Promise.all(Array.from({ length: workers }, (_, number) => worker(number)));
      assert.ok(served > 0 && cut > 0, `${served} were served and ${cut} cut`);
      await linksUp(west, links);
      for (let turn = 0; turn < 20; turn += 1) {
        const { received, end } = await exchange(importPort, `sound ${turn}`);
        assert.deepEqual([received.toString(), end], [`sound ${turn}`, 'eof']);
      }
    } finally {
      west.table.set(tableOf(west, [], []));
      await proxy.close();
    }
    await quiet(west, east);
    await leak.check();
  });
});
