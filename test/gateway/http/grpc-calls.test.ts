import assert from 'node:assert/strict';
import { type ClientReadableStream, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { after, afterEach, before, describe, it } from 'node:test';
import type { AccessLogEntry } from '../../../src/gateway/access-log.ts';
import { quiet, serviceRoute, until } from '../support/mesh.ts';
import { type EchoServer, echoClient, paths, same, startEcho } from './support/grpc-peer.ts';
import { startH2Front } from './support/h2-front.ts';
import { startPair } from './support/pair.ts';

/** A hang fails soon, and says where. */
const each = { timeout: 60_000 } as const;

/** Where calls go in, and what the client's gateway says of them. */
interface Way {
  readonly port: number;
  readonly entries: AccessLogEntry[];
  /** Where they go from there. */
  readonly host: string;
  /** Resolves when nothing of any call is left. */
  readonly over: () => Promise<void>;
  readonly close: () => Promise<void>;
}

async function oneGateway(server: number): Promise<Way> {
  const front = await startH2Front({ endpoints: [server], appProtocol: 'grpc' });
  return {
    port: front.port,
    entries: front.entries,
    host: `127.0.0.1:${server}`,
    over: () => until('all requests to end', () => front.active() === 0),
    close: () => front.close(),
  };
}

async function twoGateways(server: number): Promise<Way> {
  const pair = await startPair({ serve: [], protocol: 'grpc' });
  const { endpoints, targets } = serviceRoute({ self: 'east', local: [server] });
  pair.setEast((route) => ({ ...route, endpoints, targets }));
  return {
    port: pair.port,
    entries: pair.west.access,
    host: `127.0.0.1:${pair.east.gateway.hbonePort}`,
    over: () => quiet(pair.west),
    close: () => pair.close(),
  };
}

/** What the server saw of a call's end. */
interface Seen {
  cancelled: number;
  ended: number;
  deadlines: (Date | number)[];
}

for (const [where, start] of Object.entries({ 'one gateway': oneGateway, 'two gateways': twoGateways })) {
  describe(`gRPC calls through ${where} (grpc-js on both sides)`, () => {
    const seen: Seen = { cancelled: 0, ended: 0, deadlines: [] };
    let server: EchoServer;
    let front: Way;
    let client: ReturnType<typeof echoClient>;

    before(async () => {
      server = await startEcho({
        unary(call, callback) {
          seen.deadlines.push(call.getDeadline());
          call.on('cancelled', () => (seen.cancelled += 1));
          const wish = call.metadata.get('wish')[0];
          if (wish === 'never') return;
          if (wish === 'fail') {
            const trailing = new Metadata();
            trailing.set('why', 'as wished');
            return callback({ code: status.FAILED_PRECONDITION, details: 'not ready: 100 % sure', metadata: trailing });
          }
          const trailing = new Metadata();
          trailing.set('x-trailing', 'yes');
          trailing.set('some-bin', Buffer.from([0, 255, 1]));
          callback(null, call.request, trailing);
        },
        down(call) {
          call.on('cancelled', () => (seen.cancelled += 1));
          const count = call.request.readUInt32BE(0);
          if (count === 0) return void call.write(Buffer.from('first'));
          for (let index = 0; index < count; index += 1) call.write(Buffer.from(String(index)));
          call.end();
        },
        up(call, callback) {
          let bytes = 0;
          call.on('cancelled', () => (seen.cancelled += 1));
          call.on('data', (chunk: Buffer) => (bytes += chunk.length));
          call.on('end', () => {
            seen.ended += 1;
            callback(null, Buffer.from(String(bytes)));
          });
        },
        both(call) {
          call.on('cancelled', () => (seen.cancelled += 1));
          call.on('data', (chunk: Buffer) => call.write(chunk));
          call.on('end', () => call.end());
        },
      });
      front = await start(server.port);
      client = echoClient(front.port);
    });

    after(async () => {
      client.close();
      await front.close();
      server.kill();
    });

    afterEach(async () => {
      await front.over();
      Object.assign(seen, { cancelled: 0, ended: 0, deadlines: [] });
      front.entries.length = 0;
    });

    const unary = (
      message: Buffer,
      { wish, deadline }: { wish?: string; deadline?: number } = {},
    ): Promise<{ error: ServiceError | null; value: Buffer | undefined; trailing: Metadata }> =>
      new Promise((resolve) => {
        const metadata = new Metadata();
        if (wish !== undefined) metadata.set('wish', wish);
        let error: ServiceError | null = null;
        let value: Buffer | undefined;
        const options = deadline === undefined ? {} : { deadline };
        const call = client.makeUnaryRequest(paths.unary, same, same, message, metadata, options, (failed, answer) => {
          error = failed;
          value = answer;
        });
        call.on('status', ({ metadata: trailing }) => setImmediate(() => resolve({ error, value, trailing })));
      });

    const lastEntry = async (): Promise<(typeof front.entries)[number]> => {
      await until('an entry in the access log', () => front.entries.length > 0);
      const entry = front.entries.at(-1);
      assert.ok(entry);
      return entry;
    };

    it('unary: message, trailing metadata (binary too), one line in the log with the status', each, async () => {
      const { error, value, trailing } = await unary(Buffer.from('hello'));
      assert.equal(error, null);
      assert.equal(value?.toString(), 'hello');
      assert.deepEqual(trailing.get('x-trailing'), ['yes']);
      assert.deepEqual(trailing.get('some-bin'), [Buffer.from([0, 255, 1])]);
      const entry = await lastEntry();
      assert.equal(entry.grpc_response_status, 0);
      assert.equal(entry.path, '/test.Echo/Unary');
      assert.equal(entry.protocol, 'HTTP/2');
      assert.equal(entry.response_flags, '-');
      assert.equal(entry.upstream_host, front.host);
    });

    it('unary: an error of the server is passed on with its message and metadata', each, async () => {
      const { error, trailing } = await unary(Buffer.from('x'), { wish: 'fail' });
      assert.equal(error?.code, status.FAILED_PRECONDITION);
      assert.equal(error?.details, 'not ready: 100 % sure');
      assert.deepEqual(trailing.get('why'), ['as wished']);
      const entry = await lastEntry();
      assert.equal(entry.grpc_response_status, status.FAILED_PRECONDITION);
      assert.equal(entry.response_code, 200);
    });

    it('unary: 4 MB each way', each, async () => {
      const message = Buffer.alloc(4 * 1024 * 1024, 'abcdefgh');
      const { error, value } = await unary(message);
      assert.equal(error, null);
      assert.ok(value?.equals(message));
    });

    it('server streaming: every message in order, and the status after the last', each, async () => {
      const request = Buffer.alloc(4);
      request.writeUInt32BE(2000);
      const call = client.makeServerStreamRequest(paths.down, same, same, request);
      const got: string[] = [];
      call.on('data', (chunk: Buffer) => got.push(chunk.toString()));
      await new Promise<void>((resolve, reject) => call.on('end', resolve).on('error', reject));
      assert.deepEqual(
        got,
        Array.from({ length: 2000 }, (_, index) => String(index)),
      );
    });

    it('client streaming: every byte, and the end of it', each, async () => {
      const answer = new Promise<Buffer>((resolve, reject) => {
        const call = client.makeClientStreamRequest(
          paths.up,
          same,
          same,
          (error: ServiceError | null, value?: Buffer) => (error || !value ? reject(error) : resolve(value)),
        );
        for (let index = 0; index < 200; index += 1) call.write(Buffer.alloc(1000));
        call.end();
      });
      assert.equal((await answer).toString(), '200000');
      assert.equal(seen.ended, 1);
    });

    it('bidirectional: each message comes back before the next is sent', each, async () => {
      const call = client.makeBidiStreamRequest(paths.both, same, same);
      for (let index = 0; index < 50; index += 1) {
        const back = new Promise<Buffer>((resolve) => call.once('data', resolve));
        call.write(Buffer.from(`message ${index}`));
        assert.equal((await back).toString(), `message ${index}`);
      }
      call.end();
      await new Promise<void>((resolve, reject) => call.on('end', resolve).on('error', reject).resume());
    });

    it('a deadline: the server is told what is left of it, the caller DEADLINE_EXCEEDED', each, async () => {
      const startedAt = Date.now();
      const { error } = await unary(Buffer.from('x'), { wish: 'never', deadline: startedAt + 400 });
      assert.equal(error?.code, status.DEADLINE_EXCEEDED);
      assert.ok(Date.now() - startedAt >= 390, 'not before its time');
      const [deadline] = seen.deadlines;
      const told = deadline instanceof Date ? deadline.getTime() : Number(deadline);
      assert.ok(Math.abs(told - (startedAt + 400)) < 1500, `the server's deadline is ${told - startedAt} ms away`);
      await until('the server to be told', () => seen.cancelled === 1);
    });

    it('a deadline: the gateway itself keeps it for a caller that does not', each, async () => {
      // The caller states a deadline in its metadata and waits for as long as it takes.
      const patient = echoClient(front.port);
      try {
        const metadata = new Metadata();
        metadata.set('wish', 'never');
        metadata.set('grpc-timeout', '300m');
        const error = await new Promise<ServiceError | null>((resolve) => {
          patient.makeUnaryRequest(paths.unary, same, same, Buffer.from('x'), metadata, (failed) => resolve(failed));
        });
        assert.equal(error?.code, status.DEADLINE_EXCEEDED);
        const entry = await lastEntry();
        assert.equal(entry.grpc_response_status, status.DEADLINE_EXCEEDED);
        assert.equal(entry.response_flags, 'UT');
        await until('the server to be told', () => seen.cancelled === 1);
      } finally {
        patient.close();
      }
    });

    it('cancelled by the caller before an answer: the server is told, the log says DC', each, async () => {
      const metadata = new Metadata();
      metadata.set('wish', 'never');
      const error = await new Promise<ServiceError | null>((resolve) => {
        const call = client.makeUnaryRequest(paths.unary, same, same, Buffer.from('x'), metadata, (failed) =>
          resolve(failed),
        );
        void until('the call to arrive', () => seen.deadlines.length === 1).then(() => call.cancel());
      });
      assert.equal(error?.code, status.CANCELLED);
      await until('the server to be told', () => seen.cancelled === 1);
      assert.equal((await lastEntry()).response_flags, 'DC');
    });

    it('cancelled by the caller in the middle of a response', each, async () => {
      const call: ClientReadableStream<Buffer> = client.makeServerStreamRequest(
        paths.down,
        same,
        same,
        Buffer.alloc(4),
      );
      const first = await new Promise<Buffer>((resolve) => call.on('error', () => undefined).once('data', resolve));
      assert.equal(first.toString(), 'first');
      call.cancel();
      await until('the server to be told', () => seen.cancelled === 1);
      assert.equal((await lastEntry()).response_flags, 'DC');
    });

    it('1000 calls at a time, over one connection of the client', each, async () => {
      const all = await Promise.all(Array.from({ length: 1000 }, (_, index) => unary(Buffer.from(`n${index}`))));
      assert.equal(all.filter(({ error }) => error !== null).length, 0);
      assert.ok(all.every(({ value }, index) => value?.toString() === `n${index}`));
      await until('1000 entries', () => front.entries.length === 1000);
    });
  });
}
