import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { request } from 'undici';
import { parseReplicaName } from '../../src/model/names.ts';
import { type Backend, echo, startBackend } from '../support/backend.ts';
import { freePort } from '../support/ports.ts';
import { exchange, open, readToEnd } from './support/client.ts';
import { createTestCa, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';

/** An operator takes one of two gateways of east out of use; west's clients must not notice. */
describe('a gateway that an operator drains', () => {
  let ca: TestCa;
  let nodes: Node[];
  let backend: Backend;

  beforeEach(async () => {
    ca = createTestCa();
    nodes = [];
    backend = await startBackend(echo);
  });

  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.gateway.close()));
    await backend.close();
    ca.close();
  });

  async function start(cluster: string, instance = 'gw0'): Promise<Node> {
    const node = await startNode(cluster, { ca, clusters: ['west', 'east'], instance, health: true });
    nodes.push(node);
    return node;
  }

  /** East's own table: it serves shop/web; of its gateways these are drained. */
  function setEast(node: Node, drained: readonly string[] = []): void {
    const own = { ...clusterRoute([node]), ...(drained.length > 0 && { drained: drained.map(parseReplicaName) }) };
    node.table.set(tableOf(node, [serviceRoute({ self: 'east', local: [backend.port] })], [own]));
  }

  async function health(node: Node): Promise<string> {
    const { statusCode, body } = await request(`http://127.0.0.1:${node.gateway.healthPort}/healthz/ready`, {
      reset: true,
    });
    return `${statusCode} ${(await body.text()).trim()}`;
  }

  it('is not ready, sends its peers away, loses no connection, and comes back', async () => {
    const [first, second, west] = [await start('east', 'gw0'), await start('east', 'gw1'), await start('west')];
    const importPort = await freePort();
    const route = serviceRoute({ self: 'west', importPort, remote: ['east'] });
    const both = clusterRoute([first, second]);
    setEast(first);
    setEast(second);
    west.table.set(tableOf(west, [route], [both]));
    await linksUp(west, 2);

    let running = true;
    let done = 0;
    const failures: string[] = [];
    const worker = async (index: number): Promise<void> => {
      while (running) {
        const payload = `${index} `.repeat(100);
        const { received, end } = await exchange(importPort, payload);
        if (end === 'eof' && received.toString() === payload) done += 1;
        else failures.push(`${end} after ${received.length} of ${payload.length} bytes`);
      }
    };
    const workers = Array.from({ length: 8 }, (_, index) => worker(index));
    try {
      await until('load on both', () => first.access.length > 20 && second.access.length > 20);
      // Held through both gateways, whichever each of them is at.
      const held = await Promise.all(Array.from({ length: 8 }, () => open(importPort)));
      for (const socket of held) {
        socket.write('a');
        await once(socket, 'data');
      }
      assert.equal(await health(first), '200 ok');

      // East hears of it first: west still has both in its table.
      setEast(first, ['gw0']);
      setEast(second, ['gw0']);
      assert.equal(await health(first), '503 an operator: drained');
      assert.equal(await health(second), '200 ok');
      assert.equal(first.gateway.report().draining, true);
      const late = done + 50;
      await until('load goes on before west knows', () => done > late);

      west.table.set(tableOf(west, [route], [{ ...both, gateways: both.gateways.slice(1) }]));
      await until('no new connection', () => {
        const last = first.access.at(-1);
        return last !== undefined && Date.now() - Date.parse(last.start_time) > 700;
      });
      const then = done + 50;
      await until('load on the other', () => done > then);
      for (const socket of held) {
        const ending = readToEnd(socket);
        socket.end('b');
        assert.deepEqual(await ending, { received: Buffer.from('b'), end: 'eof' }, 'what was open goes on');
      }

      setEast(first);
      setEast(second);
      west.table.set(tableOf(west, [route], [both]));
      assert.equal(await health(first), '200 ok');
      await linksUp(west, 2);
    } finally {
      running = false;
      await Promise.all(workers);
    }
    assert.deepEqual(failures, []);
  });
});
