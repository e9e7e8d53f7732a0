import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import type { AccessLogEntry } from '../../../src/gateway/access-log.ts';
import type { HttpPlan } from '../../../src/model/traffic.ts';
import { freePort } from '../../support/ports.ts';
import { open } from '../support/client.ts';
import { createTestCa, type TestCa } from '../support/identities.ts';
import { clusterRoute, linksUp, type Node, serviceRoute, startNode, tableOf, until } from '../support/mesh.ts';

/** A hang fails soon, and says where. */
const each = { timeout: 60_000 } as const;

const largeBytes = 4 * 1024 * 1024;
/** Nothing that outlives its handshake may be bound by it. */
const http: HttpPlan = { timeoutMs: 1000, retries: { attempts: 0, on: [], budget: 0.2 } };

/** What the server saw of one connection's end. */
interface Seen {
  readonly socket: WebSocket;
  readonly messages: { readonly bytes: number; readonly binary: boolean }[];
  close: { readonly code: number; readonly reason: string } | undefined;
}

/** Echoes messages; refuses `/refused`; `/raw` switches to a protocol of plain bytes. */
interface EchoServer {
  readonly server: Server;
  readonly port: number;
  readonly seen: Seen[];
  /** Connections of `/raw`. */
  readonly raw: Socket[];
}

async function startEchoServer(): Promise<EchoServer> {
  const server = createServer((_request, response) => void response.end('plain\n'));
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 2 * largeBytes, perMessageDeflate: true });
  const seen: Seen[] = [];
  const raw: Socket[] = [];
  server.on('upgrade', (request, socket: Socket, head) => {
    if (request.url === '/refused') {
      socket.on('error', () => undefined);
      return void socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n');
    }
    if (request.url === '/raw') {
      socket.allowHalfOpen = true;
      raw.push(socket.on('error', () => undefined));
      return void socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n');
    }
    sockets.handleUpgrade(request, socket, head, (ws) => {
      const one: Seen = { socket: ws, messages: [], close: undefined };
      seen.push(one);
      ws.on('error', () => undefined);
      ws.on('message', (data: Buffer, binary) => {
        one.messages.push({ bytes: data.length, binary });
        ws.send(data, { binary });
      });
      ws.on('close', (code, reason) => (one.close = { code, reason: reason.toString() }));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const bound = server.address();
  return { server, port: bound && typeof bound === 'object' ? bound.port : 0, seen, raw };
}

const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

interface Gathered {
  text: string;
  /** Nothing more will come. */
  ended: boolean;
}

function gather(socket: Socket): Gathered {
  const gathered: Gathered = { text: '', ended: false };
  socket.on('data', (chunk: Buffer) => (gathered.text += chunk.toString())).on('end', () => (gathered.ended = true));
  return gathered;
}

/** The route of a client's gateway to the service, and the log of each gateway that the requests meet. */
interface Way {
  readonly port: number;
  readonly access: AccessLogEntry[];
  close(): Promise<void>;
}

async function oneGateway(ca: TestCa, backend: number): Promise<Way> {
  const node = await startNode('west', { ca, clusters: ['west'] });
  const port = await freePort();
  const route = serviceRoute({ self: 'west', importPort: port, local: [backend] });
  const ports = [{ port: 80, importPort: port, appProtocol: 'http' }];
  node.table.set(tableOf(node, [{ ...route, ports, http }], []));
  await until('the import listener', () => node.gateway.importPorts().size === 1);
  return { port, access: node.access, close: () => node.gateway.close() };
}

async function twoGateways(ca: TestCa, backend: number): Promise<Way> {
  const clusters = ['west', 'east'];
  const nodes = await Promise.all(clusters.map((name) => startNode(name, { ca, clusters })));
  const [west, east] = nodes as [Node, Node];
  const port = await freePort();
  const shape = (importPort: number | undefined) => ({
    ports: [{ port: 80, importPort, appProtocol: 'http' }],
    http,
  });
  east.table.set(tableOf(east, [{ ...serviceRoute({ self: 'east', local: [backend] }), ...shape(undefined) }], []));
  const imported = { ...serviceRoute({ self: 'west', remote: ['east'] }), ...shape(port) };
  west.table.set(tableOf(west, [imported], [clusterRoute([east])]));
  await linksUp(west, 1);
  await until('the import listener', () => west.gateway.importPorts().size === 1);
  return {
    port,
    access: west.access,
    close: async () => void (await Promise.all(nodes.map((node) => node.gateway.close()))),
  };
}

for (const [where, start] of Object.entries({ 'one gateway': oneGateway, 'two gateways': twoGateways })) {
  describe(`WebSockets (ws on both sides) through ${where}`, () => {
    let ca: TestCa;
    let echo: EchoServer;
    let way: Way;

    before(async () => {
      ca = createTestCa();
      echo = await startEchoServer();
      way = await start(ca, echo.port);
    });

    after(async () => {
      await way.close();
      echo.server.closeAllConnections();
      echo.server.close();
      ca.close();
    });

    async function connect(
      options: { readonly path?: string; readonly protocols?: string[] } = {},
    ): Promise<{ client: WebSocket; seen: Seen }> {
      const before = echo.seen.length;
      const client = new WebSocket(`ws://127.0.0.1:${way.port}${options.path ?? '/'}`, options.protocols ?? []);
      await once(client, 'open');
      await until('the server to have it', () => echo.seen.length > before);
      const seen = echo.seen.at(-1);
      assert.ok(seen);
      return { client: client.on('error', () => undefined), seen };
    }

    const closed = (client: WebSocket): Promise<{ code: number; reason: string }> =>
      new Promise((resolve) => client.once('close', (code, reason) => resolve({ code, reason: reason.toString() })));

    async function lastEntry(): Promise<AccessLogEntry> {
      await until('the log', () => way.access.length > 0);
      const [entry] = way.access.splice(0);
      assert.ok(entry);
      return entry;
    }

    it('text and binary come back as they were; the log says 101 and counts the bytes', each, async () => {
      way.access.length = 0;
      const { client, seen } = await connect();
      try {
        client.send('grüezi');
        const [text, binary] = (await once(client, 'message')) as [Buffer, boolean];
        assert.deepEqual([text.toString(), binary], ['grüezi', false]);
        client.send(Buffer.from([0, 255, 1]));
        const [bytes, isBinary] = (await once(client, 'message')) as [Buffer, boolean];
        assert.deepEqual([[...bytes], isBinary], [[0, 255, 1], true]);
        assert.deepEqual(seen.messages, [
          { bytes: 7, binary: false },
          { bytes: 3, binary: true },
        ]);
        const end = closed(client);
        client.close(1000);
        await end;
      } finally {
        client.terminate();
      }
      const entry = await lastEntry();
      assert.deepEqual([entry.response_code, entry.response_flags, entry.protocol], [101, '-', 'HTTP/1.1']);
      assert.ok(entry.bytes_received > 10 && entry.bytes_sent > 10, 'bytes of both ways are counted');
    });

    it('a frame of 4 MB, each way, byte for byte', each, async () => {
      const { client, seen } = await connect();
      try {
        const large = randomBytes(largeBytes);
        client.send(large);
        const [back] = (await once(client, 'message')) as [Buffer];
        assert.equal(sha(back), sha(large));
        assert.deepEqual(seen.messages, [{ bytes: largeBytes, binary: true }]);
      } finally {
        client.terminate();
      }
    });

    it('5000 small messages, in order, and a ping in between', each, async () => {
      const { client } = await connect();
      try {
        const got: string[] = [];
        client.on('message', (data: Buffer) => got.push(data.toString()));
        let pongs = 0;
        client.on('pong', () => (pongs += 1));
        for (let index = 0; index < 5000; index += 1) {
          client.send(String(index));
          if (index % 1000 === 0) client.ping();
        }
        await until('all of them', () => got.length === 5000 && pongs === 5);
        assert.ok(got.every((text, index) => text === String(index)));
      } finally {
        client.terminate();
      }
    });

    it('fifty at a time, each its own messages', each, async () => {
      const all = await Promise.all(Array.from({ length: 50 }, () => connect()));
      try {
        await Promise.all(
          all.map(async ({ client }, index) => {
            for (let count = 0; count < 20; count += 1) {
              client.send(`${index} ${count}`);
              const [back] = (await once(client, 'message')) as [Buffer];
              assert.equal(back.toString(), `${index} ${count}`);
            }
          }),
        );
      } finally {
        for (const { client } of all) client.terminate();
      }
    });

    it('protocol and extensions are agreed between the two ends', each, async () => {
      const { client } = await connect({ protocols: ['chat.v2', 'chat.v1'] });
      try {
        assert.equal(client.protocol, 'chat.v2');
        assert.match(client.extensions, /permessage-deflate/);
      } finally {
        client.terminate();
      }
    });

    it('outlives the time-out of a request', each, async () => {
      const { client } = await connect();
      try {
        const from = performance.now();
        await until('the time-out to be over', () => performance.now() - from > 1500);
        client.send('still here');
        const [back] = (await once(client, 'message')) as [Buffer];
        assert.equal(back.toString(), 'still here');
      } finally {
        client.terminate();
      }
    });

    it('closed by the client: the server has its code and reason, the client the answer', each, async () => {
      const { client, seen } = await connect();
      const end = closed(client);
      client.close(4001, 'enough');
      assert.deepEqual(await end, { code: 4001, reason: 'enough' });
      await until('the server to have it', () => seen.close !== undefined);
      assert.deepEqual(seen.close, { code: 4001, reason: 'enough' });
    });

    it('closed by the server: the client has its code and reason', each, async () => {
      const { client, seen } = await connect();
      const end = closed(client);
      seen.socket.close(4002, 'going');
      assert.deepEqual(await end, { code: 4002, reason: 'going' });
    });

    it('cut by the client: 1006 at the server, DC in the log', each, async () => {
      way.access.length = 0;
      const { client, seen } = await connect();
      // As a process that dies with something unread: a reset.
      const { _socket: socket } = client as unknown as { _socket: Socket };
      socket.resetAndDestroy();
      await until('the server to have it', () => seen.close !== undefined);
      assert.equal(seen.close?.code, 1006);
      assert.equal((await lastEntry()).response_flags, 'DC');
    });

    it('cut by the server: 1006 at the client, UC in the log', each, async () => {
      way.access.length = 0;
      const { client, seen } = await connect();
      const end = closed(client);
      const { _socket: socket } = seen.socket as unknown as { _socket: Socket };
      socket.resetAndDestroy();
      assert.equal((await end).code, 1006);
      assert.equal((await lastEntry()).response_flags, 'UC');
    });

    for (const first of ['client', 'server'] as const) {
      it(`one side says no more, the ${first}; the other goes on, and its end arrives too`, each, async () => {
        const before = echo.raw.length;
        const client = await open(way.port);
        const request = 'GET /raw HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n';
        client.write(request);
        await once(client, 'readable');
        assert.match(String(client.read()), /^HTTP\/1\.1 101 /);
        await until('the server to have it', () => echo.raw.length > before);
        const server = echo.raw.at(-1);
        assert.ok(server);
        try {
          const [early, late] = first === 'client' ? [client, server] : [server, client];
          const [toEarly, toLate] = [gather(early), gather(late)];
          early.end('the last of it');
          await until('the end of one direction', () => toLate.ended);
          assert.equal(toLate.text, 'the last of it');
          late.write('as I was ');
          await until('the other direction to go on', () => toEarly.text === 'as I was ');
          assert.equal(toEarly.ended, false);
          late.end('saying');
          await until('the end of the other direction', () => toEarly.ended);
          assert.equal(toEarly.text, 'as I was saying');
        } finally {
          client.destroy();
          server.destroy();
        }
      });
    }

    it('an upgrade that the backend refuses: its answer, and nothing of an error', each, async () => {
      way.access.length = 0;
      const client = new WebSocket(`ws://127.0.0.1:${way.port}/refused`);
      const [, response] = (await once(client, 'unexpected-response')) as [unknown, { statusCode: number }];
      assert.equal(response.statusCode, 403);
      client.on('error', () => undefined).terminate();
      const entry = await lastEntry();
      assert.deepEqual([entry.response_code, entry.response_flags], [403, '-']);
    });
  });
}
