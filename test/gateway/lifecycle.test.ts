import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Backend, echo, startBackend } from '../support/backend.ts';
import { failOnLeak } from '../support/leak.ts';
import { freePort } from '../support/ports.ts';
import { exchange, open, readToEnd } from './support/client.ts';
import { createTestCa, gatewayId, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, quiet, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';

describe('a gateway', { timeout: 60_000 }, () => {
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

  async function start(cluster: string, options: Partial<Parameters<typeof startNode>[1]> = {}): Promise<Node> {
    const node = await startNode(cluster, { ca, clusters: ['west', 'east', 'south'], ...options });
    nodes.push(node);
    return node;
  }

  async function serving(cluster: string, instance = 'gw0'): Promise<Node> {
    const node = await start(cluster, { instance });
    node.table.set(tableOf(node, [serviceRoute({ self: cluster, local: [backend.port] })], []));
    return node;
  }

  it('opens and closes import listeners with the table; open connections stay', async () => {
    const west = await start('west');
    const [one, two] = [await freePort(), await freePort()];
    const at = (importPort: number): ReturnType<typeof serviceRoute> =>
      serviceRoute({ self: 'west', importPort, local: [backend.port] });
    west.table.set(tableOf(west, [at(one)], []));
    await until('first port', () => west.gateway.importPorts().get('shop/web:80') === one);
    const held = await open(one);
    held.write('a');
    await once(held, 'data');
    west.table.set(tableOf(west, [at(two)], []));
    await until('second port', () => west.gateway.importPorts().get('shop/web:80') === two);
    assert.equal((await exchange(two, 'x')).received.toString(), 'x');
    await assert.rejects(open(one), { code: 'ECONNREFUSED' });
    west.table.set(tableOf(west, [], []));
    await until('no port', () => west.gateway.importPorts().size === 0);
    const ending = readToEnd(held);
    held.end('b');
    assert.deepEqual((await ending).received.toString(), 'b', 'a connection outlives its service in the table');
  });

  it('waits for an import port that is in use, says so once, and takes it when it is free', async () => {
    const west = await start('west');
    const occupier = createServer().listen(0, '127.0.0.1');
    await once(occupier, 'listening');
    const bound = occupier.address();
    assert.ok(bound && typeof bound === 'object');
    west.table.set(tableOf(west, [serviceRoute({ self: 'west', importPort: bound.port, local: [backend.port] })], []));
    await until('the problem', () => /port is in use/.test(west.gateway.report().waitingFor ?? ''));
    await sleep(700);
    assert.equal(west.log.filter(({ message }) => message === 'import listener waits for its port').length, 1);
    await new Promise((resolve) => occupier.close(resolve));
    await until('the port', () => west.gateway.importPorts().size === 1);
    assert.equal((await exchange(bound.port, 'x')).received.toString(), 'x');
    assert.equal(west.gateway.report().waitingFor, undefined);
  });

  it('is ready with identity and trust only, and answers health checks accordingly', async () => {
    const west = await start('west', { health: true });
    const ask = async (path: string): Promise<string> => {
      const response = await fetch(`http://127.0.0.1:${west.gateway.healthPort}${path}`);
      return `${response.status} ${(await response.text()).trim()}`;
    };
    assert.equal(west.gateway.ready.current, true);
    assert.equal(await ask('/healthz/ready'), '200 ok');
    const svid = west.svid.current;
    west.svid.set(undefined);
    assert.equal(west.gateway.ready.current, false);
    assert.equal(await ask('/healthz/ready'), '503 an identity from the agent');
    assert.equal(await ask('/healthz/live'), '200 ok');
    assert.match(await ask('/'), /^404/);
    west.svid.set(svid && { ...svid, notAfter: Date.now() - 1 });
    assert.match(west.gateway.waitingFor() ?? '', /has expired/);
    west.svid.set(svid);
    west.trust.set(undefined);
    assert.equal(west.gateway.waitingFor(), 'the roster of the federation');
  });

  it('dials only once it has an identity, and then at once', async () => {
    const east = await serving('east');
    const west = await start('west');
    const svid = west.svid.current;
    west.svid.set(undefined);
    west.table.set(tableOf(west, [], [clusterRoute([east])]));
    await sleep(100);
    assert.deepEqual(
      west.log.filter(({ level }) => level === 'warn'),
      [],
    );
    west.svid.set(svid);
    await linksUp(west, 1);
  });

  it('uses a renewed identity for new sessions while streams on the old one go on', async () => {
    const [east, west] = [await serving('east'), await start('west')];
    const importPort = await freePort();
    west.table.set(
      tableOf(west, [serviceRoute({ self: 'west', importPort, remote: ['east'] })], [clusterRoute([east])]),
    );
    await linksUp(west, 1);
    const held = await open(importPort);
    held.write('a');
    await once(held, 'data');
    const renewed = ca.issue(gatewayId('west', 'renewed'));
    west.svid.set(renewed);
    await until('the new identity to be seen', () => {
      void exchange(importPort, 'x');
      return east.access.some((entry) => entry.peer_identity === renewed.id);
    });
    assert.equal(west.gateway.report().links[0]?.up, true);
    const ending = readToEnd(held);
    held.end('b');
    const { received, end } = await ending;
    assert.deepEqual([received.toString(), end], ['b', 'eof']);
    await quiet(west, east);
    east.access.length = 0;
    for (let round = 0; round < 5; round += 1) await exchange(importPort, 'x');
    await until('entries', () => east.access.length === 5);
    assert.deepEqual([...new Set(east.access.map((entry) => entry.peer_identity))], [renewed.id]);
  });

  it('drains under load without a failed connection', async () => {
    const [first, second, west] = [await serving('east', 'gw0'), await serving('east', 'gw1'), await start('west')];
    const importPort = await freePort();
    west.table.set(
      tableOf(west, [serviceRoute({ self: 'west', importPort, remote: ['east'] })], [clusterRoute([first, second])]),
    );
    await linksUp(west, 2);
    let running = true;
    let done = 0;
    const failures: string[] = [];
    const worker = async (index: number): Promise<void> => {
      while (running) {
        const payload = `${index} `.repeat(200);
        const { received, end } = await exchange(importPort, payload);
        if (end === 'eof' && received.toString() === payload) done += 1;
        else failures.push(`${end} after ${received.length} of ${payload.length} bytes`);
      }
    };
    const workers = Array.from({ length: 16 }, (_, index) => worker(index));
    try {
      await until('load on both', () => first.access.length > 20 && second.access.length > 20);
      await first.gateway.drain(15_000);
      assert.equal(first.gateway.report().draining, true);
      assert.equal(first.gateway.ready.current, false);
      await linksUp(west, 1);
      await first.gateway.close();
      const before = done;
      await until('load on the other', () => done > before + 200);
    } finally {
      running = false;
      await Promise.all(workers);
    }
    const troubled = west.access.filter(({ response_flags: flags }) => flags !== '-');
    assert.deepEqual(failures, [], JSON.stringify({ troubled, log: west.log }));
  });

  it('resets what does not end within the drain time', async () => {
    const [east, west] = [await serving('east'), await start('west')];
    const importPort = await freePort();
    west.table.set(
      tableOf(west, [serviceRoute({ self: 'west', importPort, remote: ['east'] })], [clusterRoute([east])]),
    );
    await linksUp(west, 1);
    const held = await open(importPort);
    held.write('a');
    await once(held, 'data');
    const ending = readToEnd(held);
    const started = performance.now();
    await east.gateway.drain(200);
    assert.ok(performance.now() - started < 1200);
    assert.equal((await ending).end, 'reset');
    assert.equal(east.access.at(-1)?.response_flags, 'LR');
  });

  it('cuts a connection that was idle for too long', async () => {
    const west = await start('west', { limits: { idleTimeoutMs: 1000 } });
    const importPort = await freePort();
    west.table.set(tableOf(west, [serviceRoute({ self: 'west', importPort, local: [backend.port] })], []));
    await until('port', () => west.gateway.importPorts().size === 1);
    const socket = await open(importPort);
    assert.equal((await readToEnd(socket)).end, 'reset');
    await until('entry', () => west.access.length === 1);
    assert.equal(west.access[0]?.response_flags, 'SI');
  });

  it('opens another session when one is full, and reports what it does', async () => {
    const east = await start('east', { limits: { streamsPerSession: 4 } });
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port] })], []));
    const west = await start('west');
    const importPort = await freePort();
    west.table.set(
      tableOf(west, [serviceRoute({ self: 'west', importPort, remote: ['east'] })], [clusterRoute([east])]),
    );
    await linksUp(west, 1);
    const sockets = [];
    for (let count = 1; count <= 12; count += 1) {
      const socket = await open(importPort);
      sockets.push(socket);
      socket.write('x');
      await once(socket, 'data');
    }
    const [target] = west.gateway.report().services[0]?.targets ?? [];
    assert.equal(target?.active, 12);
    assert.ok((west.gateway.report().links[0]?.rttP50Ms ?? -1) >= 0);
    for (const socket of sockets) socket.destroy();
  });

  it('leaves nothing behind after close, with connections open', async (t) => {
    const leak = failOnLeak(t, 5000);
    const [east, west] = [await serving('east'), await start('west', { health: true })];
    const importPort = await freePort();
    west.table.set(
      tableOf(west, [serviceRoute({ self: 'west', importPort, remote: ['east'] })], [clusterRoute([east])]),
    );
    await linksUp(west, 1);
    const sockets = await Promise.all(Array.from({ length: 50 }, () => open(importPort)));
    const endings = sockets.map(readToEnd);
    for (const socket of sockets) socket.write('x');
    await until('all connected', () => backend.connections.size === 50);
    await west.gateway.close();
    for (const { end } of await Promise.all(endings)) assert.equal(end, 'reset');
    await east.gateway.close();
    await leak.check();
  });

  it('refuses a bad limit and a port in use, with nothing left open', async (t) => {
    const leak = failOnLeak(t);
    await assert.rejects(start('west', { limits: { connections: 0 } }), /limit 'connections' must be an integer/);
    await leak.check();
  });
});
