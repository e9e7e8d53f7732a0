import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { parseReplicaName } from '../../../src/model/names.ts';
import type { ClusterRoute, ServiceRoute } from '../../../src/model/route.ts';
import { freePort } from '../../support/ports.ts';
import { createTestCa, type TestCa } from '../support/identities.ts';
import { clusterRoute, linksUp, type Node, serviceRoute, startNode, tableOf, until } from '../support/mesh.ts';
import { failures, type GrpcLoad, grpcLoad, unary } from './support/grpc-load.ts';
import { type EchoServer, echoClient, paths, same, startEcho } from './support/grpc-peer.ts';

/** A hang fails soon, and says where. */
const each = { timeout: 60_000 } as const;

/** A server of the service, with the names of all calls that it has taken up. */
interface Backend extends EchoServer {
  readonly taken: string[];
}

const lanes = 8;
const clusters = ['west', 'east'];

describe('gRPC through what restarts, drains and dies', () => {
  let ca: TestCa;
  let ends: (() => Promise<unknown> | void)[];

  beforeEach(() => {
    ca = createTestCa();
    ends = [];
  });

  afterEach(async () => {
    for (const end of ends.reverse()) await end();
    ca.close();
  });

  async function backend(answerAfterMs = 0): Promise<Backend> {
    const taken: string[] = [];
    const server = await startEcho({
      unary(call, callback) {
        taken.push(call.request.toString());
        if (answerAfterMs === 0) callback(null, call.request);
        else setTimeout(() => callback(null, call.request), answerAfterMs);
      },
      both(call) {
        call.on('data', (chunk: Buffer) => call.write(chunk)).on('end', () => call.end());
      },
    });
    ends.push(() => server.kill());
    return { ...server, taken };
  }

  async function node(cluster: string, instance = 'gw0'): Promise<Node> {
    const started = await startNode(cluster, { ca, clusters, instance });
    ends.push(() => started.gateway.close());
    return started;
  }

  const grpc = (route: ServiceRoute, importPort?: number): ServiceRoute => ({
    ...route,
    ports: [{ port: 80, importPort, appProtocol: 'grpc' }],
  });

  const serves = (one: Node, backends: readonly Backend[], clustersHere: readonly ClusterRoute[] = []): void => {
    const route = serviceRoute({ self: one.name, local: backends.map(({ port }) => port) });
    one.table.set(tableOf(one, [grpc(route)], clustersHere));
  };

  function load(port: number): GrpcLoad {
    const running = grpcLoad(port, lanes);
    ends.push(() => running.stop());
    return running;
  }

  const progress = async (running: GrpcLoad, calls = 200): Promise<void> => {
    const goal = running.calls.length + calls;
    await until(`${calls} more calls`, () => running.calls.length >= goal);
  };

  /** A gateway whose clients' calls go to a server of its own cluster. */
  async function fronting(server: EchoServer): Promise<{ west: Node; port: number }> {
    const west = await node('west');
    const port = await freePort();
    west.table.set(tableOf(west, [grpc(serviceRoute({ self: 'west', local: [server.port] }), port)], []));
    await until('the import listener', () => west.gateway.importPorts().size === 1);
    return { west, port };
  }

  /** A gateway of west whose clients' calls go to east. */
  async function importing(gateways: readonly Node[]): Promise<{ west: Node; port: number; setGateways: SetGateways }> {
    const west = await node('west');
    const port = await freePort();
    const setGateways: SetGateways = (now) => {
      const route = grpc(serviceRoute({ self: 'west', remote: ['east'] }), port);
      west.table.set(tableOf(west, [route], [clusterRoute(now)]));
    };
    setGateways(gateways);
    await linksUp(west, gateways.length);
    await until('the import listener', () => west.gateway.importPorts().size === 1);
    return { west, port, setGateways };
  }
  type SetGateways = (now: readonly Node[]) => void;

  it("the client's gateway drains: calls in progress finish, the connection is told to go away", each, async () => {
    const server = await backend(1500);
    const { west, port } = await fronting(server);
    const client = echoClient(port);
    ends.push(() => client.close());
    const call = unary(client, 'in progress');
    const stream = client.makeBidiStreamRequest(paths.both, same, same);
    const heard: string[] = [];
    stream
      .on('data', (chunk: Buffer) => heard.push(chunk.toString()))
      .on('error', (error) => heard.push(String(error)));
    stream.write(Buffer.from('before'));
    await until('both to be under way', () => server.taken.length === 1 && heard.length === 1);
    const drained = west.gateway.drain(20_000);
    stream.write(Buffer.from('after'));
    await until('the stream to go on', () => heard.length === 2);
    assert.equal((await call).text, 'in progress');
    const refused = await unary(client, 'too late');
    assert.equal(refused.error?.code, status.UNAVAILABLE, 'nobody listens any more');
    const ended = new Promise((resolve) => stream.on('end', resolve));
    stream.end();
    await ended;
    assert.deepEqual(heard, ['before', 'after']);
    const from = performance.now();
    await drained;
    assert.ok(performance.now() - from < 15_000, 'it waits for nothing more');
    assert.ok(west.access.slice(0, 2).every(({ response_flags }) => response_flags === '-'));
  });

  it('an operator takes the gateway out: its clients are sent away, come back, and no call fails', each, async () => {
    const server = await backend();
    const west = await node('west');
    const port = await freePort();
    const route = grpc(serviceRoute({ self: 'west', local: [server.port] }), port);
    const own = { ...clusterRoute([west]), drained: [] as ReturnType<typeof parseReplicaName>[] };
    west.table.set(tableOf(west, [route], [own]));
    await until('the import listener', () => west.gateway.importPorts().size === 1);
    const running = load(port);
    await progress(running);
    for (const drained of [[parseReplicaName('gw0')], [], [parseReplicaName('gw0')], []]) {
      west.table.set(tableOf(west, [route], [{ ...own, drained }]));
      await progress(running);
    }
    assert.deepEqual(failures(await running.stop()), []);
    const addresses = new Set(west.access.map((entry) => entry.downstream_remote_address));
    assert.ok(addresses.size >= 3 * lanes, `${addresses.size} connections: each drain ended those there were`);
  });

  it('rolling restart of the gateways at the other end: no call fails, none is taken up twice', each, async () => {
    const server = await backend();
    const start = async (instance: string): Promise<Node> => {
      const east = await node('east', instance);
      serves(east, [server]);
      return east;
    };
    let gateways = [await start('gw0'), await start('gw1')];
    const { west, port, setGateways } = await importing(gateways);
    const running = load(port);
    await progress(running);
    for (const old of gateways) {
      const fresh = await start(old === gateways[0] ? 'gw2' : 'gw3');
      gateways = [...gateways.filter((one) => one !== old), fresh];
      setGateways(gateways);
      await until('the new one to be linked', () => west.gateway.report().links.filter(({ up }) => up).length >= 2);
      await old.gateway.drain(20_000);
      await old.gateway.close();
      await progress(running);
    }
    const calls = await running.stop();
    assert.deepEqual(failures(calls), []);
    assert.equal(new Set(server.taken).size, server.taken.length, 'nothing was sent twice');
    assert.ok(calls.length > 600);
  });

  it(
    'a restart that nobody has announced: the gateway drains, and leaves the table only afterwards',
    each,
    async () => {
      const server = await backend();
      const gateways = [await node('east', 'gw0'), await node('east', 'gw1')];
      for (const east of gateways) serves(east, [server]);
      const { port } = await importing(gateways);
      const running = load(port);
      await progress(running);
      await gateways[0]?.gateway.drain(20_000);
      await gateways[0]?.gateway.close();
      await progress(running);
      assert.deepEqual(failures(await running.stop()), []);
      assert.equal(new Set(server.taken).size, server.taken.length, 'nothing was sent twice');
    },
  );

  it('an operator takes a gateway at the other end out: no call fails', each, async () => {
    const server = await backend();
    const gateways = [await node('east', 'gw0'), await node('east', 'gw1')];
    for (const east of gateways) serves(east, [server]);
    const { port } = await importing(gateways);
    const running = load(port);
    await progress(running);
    const drained = [parseReplicaName('gw0')];
    for (const east of gateways) serves(east, [server], [{ ...clusterRoute(gateways), drained }]);
    await progress(running, 600);
    for (const east of gateways) serves(east, [server], [clusterRoute(gateways)]);
    await progress(running);
    assert.deepEqual(failures(await running.stop()), []);
  });

  it(
    'a backend that shuts down in order (GOAWAY) under load: no call fails, none is taken up twice',
    each,
    async () => {
      const servers = [await backend(5), await backend(5), await backend(5)];
      const west = await node('west');
      const port = await freePort();
      const set = (now: readonly Backend[]): void => {
        const local = now.map((one) => one.port);
        west.table.set(tableOf(west, [grpc(serviceRoute({ self: 'west', local }), port)], []));
      };
      set(servers);
      await until('the import listener', () => west.gateway.importPorts().size === 1);
      const running = load(port);
      await progress(running);
      for (const old of servers.slice(0, 2)) {
        // The table learns of it only later.
        await old.drain();
        await progress(running);
      }
      assert.deepEqual(failures(await running.stop()), []);
      const taken = servers.flatMap((one) => one.taken);
      assert.equal(new Set(taken).size, taken.length, 'nothing was processed twice');
    },
  );

  it('a call that is silent for long outlives the GOAWAY of its server', each, async () => {
    let answer: (() => void) | undefined;
    const server = await startEcho({
      unary(call, callback) {
        answer = () => callback(null, call.request);
      },
    });
    ends.push(() => server.kill());
    const { port } = await fronting(server);
    const client = echoClient(port);
    ends.push(() => client.close());
    let over = false;
    const call = unary(client, 'patience').finally(() => {
      over = true;
    });
    await until('the call there', () => answer !== undefined);
    const drained = server.drain();
    // Longer than the gateway waits for an answer to what it asks of a silent server.
    await assert.rejects(until('the end of the call', () => over, 18_000));
    answer?.();
    assert.equal((await call).text, 'patience');
    await drained;
  });

  for (const far of [false, true]) {
    it(
      `a backend that dies under load, its ${far ? 'service in another cluster' : 'siblings here'} left: only what it had been sent fails`,
      each,
      async () => {
        const [dying, other] = [await backend(20), await backend(20)];
        const west = await node('west');
        const east = await node('east');
        serves(east, [other]);
        const port = await freePort();
        const local = far ? [dying.port] : [dying.port, other.port];
        const route = grpc(serviceRoute({ self: 'west', local, remote: far ? ['east'] : [] }), port);
        west.table.set(tableOf(west, [route], [clusterRoute([east])]));
        await linksUp(west, 1);
        await until('the import listener', () => west.gateway.importPorts().size === 1);
        const running = load(port);
        await until('calls there', () => dying.taken.length > 100);
        dying.kill();
        const killed = performance.now();
        await progress(running, 400);
        const calls = await running.stop();
        const lost = calls.filter(({ error }) => error !== undefined);
        assert.ok(lost.length <= lanes, `${lost.length} calls failed`);
        for (const { name, begun, code } of lost) {
          assert.equal(code, status.UNAVAILABLE);
          assert.ok(begun <= killed, 'begun before');
          // Sent to the one that died, perhaps not taken up there: nobody else can know, so nobody else was asked.
          assert.ok(!other.taken.includes(name), 'it may have been processed');
        }
        const twice = calls.filter(({ name }) => dying.taken.includes(name) && other.taken.includes(name));
        assert.deepEqual(twice, [], 'nothing was processed twice');
        await until('the log', () => west.access.length === calls.length);
        const flags = west.access.flatMap((entry) => (entry.grpc_response_status === 0 ? [] : [entry.response_flags]));
        assert.deepEqual([...new Set(flags)], lost.length > 0 ? ['UC'] : []);
      },
    );
  }
});
