import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectH2, constants, createServer, type Http2Server } from 'node:http2';
import { Agent, get, type IncomingMessage } from 'node:http';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { parseReplicaName } from '../../../src/model/names.ts';
import { freePort } from '../../support/ports.ts';
import { createTestCa, type TestCa } from '../support/identities.ts';
import { clusterRoute, type Node, serviceRoute, startNode, tableOf, until } from '../support/mesh.ts';
import { echoClient, type EchoServer, paths, same, startEcho } from './support/grpc-peer.ts';
import { startStage, type Stage } from './support/stage.ts';

/** What HTTP clients of a gateway see when an operator takes it out of use: they are asked to go, and served till then. */

const timeout = 60_000;
const hello = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello';

/** In the table of this node its own gateway is drained, or not. */
function drain(node: Node, drained: boolean): void {
  const { services } = node.table.current;
  const own = { ...clusterRoute([node]), ...(drained && { drained: [parseReplicaName('gw0')] }) };
  node.table.set(tableOf(node, [...services.values()], [own]));
}

describe('HTTP/1.1 clients of a gateway that an operator drains', { timeout }, () => {
  let stage: Stage;
  let agent: Agent;

  beforeEach(async () => {
    stage = await startStage({ serve: [(socket) => void socket.on('data', () => socket.write(hello))] });
    agent = new Agent({ keepAlive: true, maxSockets: 1 });
  });

  afterEach(async () => {
    agent.destroy();
    await stage.close();
  });

  async function ask(): Promise<{ readonly connection: string | undefined; readonly reused: boolean }> {
    const request = get({ port: stage.port, host: '127.0.0.1', agent });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    await once(response, 'close');
    assert.equal(response.statusCode, 200);
    return { connection: response.headers.connection, reused: request.reusedSocket };
  }

  it('are told by connection: close, each with its next response', async () => {
    assert.deepEqual(await ask(), { connection: undefined, reused: false });
    drain(stage.node, true);
    assert.deepEqual(await ask(), { connection: 'close', reused: true }, 'a connection that rested was left alone');
    assert.deepEqual(await ask(), { connection: 'close', reused: false }, 'whoever comes all the same is served');
    drain(stage.node, false);
    assert.deepEqual(await ask(), { connection: undefined, reused: false });
    assert.deepEqual(await ask(), { connection: undefined, reused: true });
  });
});

describe('HTTP/2 clients of a gateway that an operator drains', { timeout }, () => {
  let ca: TestCa;
  let node: Node;
  let importPort: number;

  beforeEach(async () => {
    ca = createTestCa();
    importPort = await freePort();
    node = await startNode('west', { ca, clusters: ['west'] });
  });

  afterEach(async () => {
    await node.gateway.close();
    ca.close();
  });

  async function serve(appProtocol: string, backend: number): Promise<void> {
    const ports = [{ port: 80, importPort, appProtocol }];
    node.table.set(tableOf(node, [{ ...serviceRoute({ self: 'west', local: [backend] }), ports }], []));
    await until('the import listener', () => node.gateway.importPorts().size === 1);
  }

  it('are told by GOAWAY, what is in progress ends well, and whoever comes is served', async () => {
    const held: (() => void)[] = [];
    const server: Http2Server = createServer((request, response) => {
      if (request.url === '/held') held.push(() => response.end('late'));
      else response.end('now');
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const bound = server.address();
    await serve('http2', bound && typeof bound === 'object' ? bound.port : 0);
    const session = connectH2(`http://127.0.0.1:${importPort}`);
    const others = [session];
    try {
      const late = session.request({ ':path': '/held' });
      await until('the request to be in progress', () => held.length === 1);
      const told = once(session, 'goaway');
      drain(node, true);
      assert.equal((await told)[0], constants.NGHTTP2_NO_ERROR);
      held[0]?.();
      late.setEncoding('utf8');
      assert.equal((await late.toArray()).join(''), 'late');
      const again = connectH2(`http://127.0.0.1:${importPort}`);
      others.push(again);
      const now = again.request({ ':path': '/' }).setEncoding('utf8');
      assert.equal((await now.toArray()).join(''), 'now');
    } finally {
      for (const each of others) each.destroy();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('gRPC calls without a pause: none fails, while it is drained and brought back five times', async () => {
    const echo: EchoServer = await startEcho({ unary: (call, callback) => callback(null, call.request) });
    const client = echoClient(importPort);
    let going = true;
    let done = 0;
    const failures: string[] = [];
    const lane = async (): Promise<void> => {
      while (going) {
        const error = await new Promise<Error | null>((resolve) => {
          const options = { deadline: Date.now() + 30_000 };
          client.makeUnaryRequest(paths.unary, same, same, Buffer.from('x'), options, (failed) => resolve(failed));
        });
        if (error) failures.push(error.message);
        else done += 1;
      }
    };
    await serve('grpc', echo.port);
    const lanes = Promise.all(Array.from({ length: 8 }, lane));
    try {
      for (let round = 0; round < 10; round += 1) {
        const then = done + 50;
        await until('calls', () => done > then);
        drain(node, round % 2 === 0);
      }
    } finally {
      going = false;
      await lanes;
      client.close();
      echo.kill();
    }
    assert.deepEqual(failures, []);
  });
});
