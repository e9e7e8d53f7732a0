import assert from 'node:assert/strict';
import { Metadata, type ServerUnaryCall, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, describe, it } from 'node:test';
import { mayRetry } from '../../../src/gateway/http/retry.ts';
import { grpcRetryConditions, type RetryCondition, type RetryPlan } from '../../../src/model/traffic.ts';
import { until } from '../support/mesh.ts';
import { type EchoHandlers, echoClient, paths, same, startEcho } from './support/grpc-peer.ts';
import { type H2Front, type H2FrontOptions, startH2Front } from './support/h2-front.ts';

/** A hang fails soon, and says where. */
const each = { timeout: 60_000 } as const;

type Unary = ServerUnaryCall<Buffer, Buffer>;
type Client = ReturnType<typeof echoClient>;

const plan = (on: readonly RetryCondition[], more: Partial<RetryPlan> = {}): RetryPlan => ({
  attempts: 2,
  on,
  budget: 1,
  ...more,
});
const everything: readonly RetryCondition[] = ['connect', 'reset', 500, 502, 503, 504, ...grpcRetryConditions];
const codes = {
  cancelled: status.CANCELLED,
  'deadline-exceeded': status.DEADLINE_EXCEEDED,
  internal: status.INTERNAL,
  'resource-exhausted': status.RESOURCE_EXHAUSTED,
  unavailable: status.UNAVAILABLE,
} as const;

/** A server that fails each call as told, with how many calls it has taken up. */
interface Failing {
  readonly port: number;
  taken(): number;
}

/** Clients by the caller's own choice never retry: grpc-js would, transparently, what was never processed. */
const noRetries = { 'grpc.enable_retries': 0 };

describe('a gRPC call that fails is sent again only as the policy says', () => {
  const ends: (() => Promise<void> | void)[] = [];

  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function failing(how: (call: Unary, fail: (error: Partial<ServiceError>) => void) => void): Promise<Failing> {
    let taken = 0;
    const server = await startEcho({
      unary(call, callback) {
        taken += 1;
        how(call, (error) => callback(error as ServiceError));
      },
    });
    ends.push(() => server.kill());
    return { port: server.port, taken: () => taken };
  }

  const saying = (code: status): Promise<Failing> => failing((_call, fail) => fail({ code, details: 'not now' }));

  async function healthy(handlers: EchoHandlers = {}): Promise<Failing> {
    let taken = 0;
    const server = await startEcho({
      unary(call, callback) {
        taken += 1;
        callback(null, call.request);
      },
      ...handlers,
    });
    ends.push(() => server.kill());
    return { port: server.port, taken: () => taken };
  }

  async function gateway(
    servers: readonly Failing[],
    retries: RetryPlan,
    more: Partial<H2FrontOptions> = {},
  ): Promise<{ front: H2Front; client: Client }> {
    const endpoints = servers.map(({ port }) => port);
    const front = await startH2Front({ endpoints, appProtocol: 'grpc', http: { retries }, ...more });
    const client = echoClient(front.port, noRetries);
    ends.push(
      () => front.close(),
      () => client.close(),
    );
    return { front, client };
  }

  const unary = (
    client: Client,
    message: Buffer,
    { wait }: { readonly wait?: number } = {},
  ): Promise<{ error: ServiceError | null; value: Buffer | undefined }> =>
    new Promise((resolve) => {
      const options = { deadline: Date.now() + (wait ?? 20_000) };
      client.makeUnaryRequest(paths.unary, same, same, message, options, (error, value) => resolve({ error, value }));
    });

  for (const [name, code] of Object.entries(codes) as [keyof typeof codes, status][]) {
    it(`${name}: elsewhere, body and all, when it is named`, each, async () => {
      const [bad, good] = [await saying(code), await healthy()];
      const { front, client } = await gateway([bad, good], plan([name]));
      for (let index = 0; index < 40; index += 1) {
        const { error, value } = await unary(client, Buffer.from(`call ${index}`));
        assert.equal(error, null);
        assert.equal(value?.toString(), `call ${index}`);
      }
      assert.ok(bad.taken() > 0, 'the bad one was asked');
      assert.equal(good.taken(), 40, 'nothing was processed twice');
      await until('the log', () => front.entries.length === 40);
      assert.ok(front.entries.every((entry) => entry.grpc_response_status === 0 && entry.response_flags === '-'));
      assert.ok(front.entries.some((entry) => entry.upstream_request_attempt_count === 2));
    });
  }

  it('not when another status is named, nor without a policy', each, async () => {
    for (const retries of [plan(['cancelled', 'internal', 'reset', 503]), plan(['connect'])]) {
      const bad = await saying(status.UNAVAILABLE);
      const { client } = await gateway([bad], retries);
      const { error } = await unary(client, Buffer.from('x'));
      assert.deepEqual([error?.code, error?.details], [status.UNAVAILABLE, 'not now']);
      assert.equal(bad.taken(), 1);
    }
  });

  it('not for a status that tells of the call itself', each, async () => {
    for (const code of [status.INVALID_ARGUMENT, status.NOT_FOUND, status.PERMISSION_DENIED, status.UNIMPLEMENTED]) {
      const bad = await saying(code);
      const { client } = await gateway([bad], plan(everything));
      assert.equal((await unary(client, Buffer.from('x'))).error?.code, code);
      assert.equal(bad.taken(), 1);
    }
  });

  it('as often as it says, and the last answer is passed on', each, async () => {
    const bad = await saying(status.UNAVAILABLE);
    const { front, client } = await gateway([bad], plan(['unavailable'], { attempts: 3 }));
    const { error } = await unary(client, Buffer.from('x'));
    assert.deepEqual([error?.code, error?.details], [status.UNAVAILABLE, 'not now']);
    assert.equal(bad.taken(), 4);
    await until('the log', () => front.entries.length === 1);
    assert.equal(front.entries[0]?.upstream_request_attempt_count, 4);
  });

  it('not once the server has sent anything: its headers are enough', each, async () => {
    const bad = await failing((call, fail) => {
      call.sendMetadata(new Metadata());
      setImmediate(() => fail({ code: status.UNAVAILABLE }));
    });
    const { client } = await gateway([bad], plan(everything));
    assert.equal((await unary(client, Buffer.from('x'))).error?.code, status.UNAVAILABLE);
    assert.equal(bad.taken(), 1);
  });

  it('not when the connection breaks under it: it may have been processed', each, async () => {
    const server = await startEcho({
      unary() {
        taken += 1;
        server.kill();
      },
    });
    let taken = 0;
    ends.push(() => server.kill());
    const other = await healthy();
    const { front, client } = await gateway([{ port: server.port, taken: () => taken }], plan(everything));
    front.setEndpoints([server.port]);
    const call = unary(client, Buffer.from('x'));
    await until('the call to arrive', () => taken === 1);
    front.setEndpoints([server.port, other.port]);
    const { error } = await call;
    assert.equal(error?.code, status.UNAVAILABLE);
    assert.deepEqual([taken, other.taken()], [1, 0]);
    await until('the log', () => front.entries.length === 1);
    assert.equal(front.entries[0]?.response_flags, 'UC');
  });

  it('not when more has been sent than is kept', each, async () => {
    const bad = await saying(status.UNAVAILABLE);
    const { client } = await gateway([bad], plan(everything), { limits: { httpReplayBytes: 1000 } });
    assert.equal((await unary(client, Buffer.alloc(2000))).error?.code, status.UNAVAILABLE);
    assert.equal(bad.taken(), 1);
    assert.equal((await unary(client, Buffer.alloc(500))).error?.code, status.UNAVAILABLE);
    assert.equal(bad.taken(), 4);
  });

  it('not when the server says when to come back: that is for the client to wait', each, async () => {
    const metadata = new Metadata();
    metadata.set('grpc-retry-pushback-ms', '100');
    const bad = await failing((_call, fail) => fail({ code: status.UNAVAILABLE, metadata }));
    const { client } = await gateway([bad], plan(['unavailable']));
    const { error } = await unary(client, Buffer.from('x'));
    assert.equal(error?.code, status.UNAVAILABLE);
    assert.deepEqual(error?.metadata.get('grpc-retry-pushback-ms'), ['100']);
    assert.equal(bad.taken(), 1);
  });

  it('within the budget, and within what is left of its deadline', each, async () => {
    const left: number[] = [];
    const bad = await failing((call, fail) => {
      const deadline = call.getDeadline();
      left.push((deadline instanceof Date ? deadline.getTime() : deadline) - Date.now());
      setTimeout(() => fail({ code: status.UNAVAILABLE }), 400);
    });
    const { client } = await gateway([bad], plan(['unavailable'], { attempts: 10 }));
    const { error } = await unary(client, Buffer.from('x'), { wait: 3000 });
    assert.equal(error?.code, status.DEADLINE_EXCEEDED);
    assert.ok(left.length >= 2 && left.length <= 8, `${left.length} tries`);
    for (const [index, ms] of left.entries()) assert.ok(index === 0 || ms < (left[index - 1] ?? 0), 'less each time');
    const before = bad.taken();
    const none = await gateway([bad], plan(['unavailable'], { attempts: 10, budget: 0 }));
    // A few are always allowed: so many at a time that this is told from them.
    await Promise.all(Array.from({ length: 20 }, () => unary(none.client, Buffer.from('x'), { wait: 700 })));
    assert.ok(bad.taken() - before <= 20 + 3 * 2, `${bad.taken() - before} tries of 20 calls`);
  });

  it('a stream of messages is repeated as far as it has come, in order', each, async () => {
    let taken = 0;
    const bad = await startEcho({
      up(call, callback) {
        taken += 1;
        let messages = 0;
        call.on('data', () => {
          messages += 1;
          if (messages === 3) callback({ code: status.UNAVAILABLE });
        });
      },
    });
    ends.push(() => bad.kill());
    const got: string[] = [];
    const good = await startEcho({
      up(call, callback) {
        call.on('data', (chunk: Buffer) => got.push(chunk.toString()));
        call.on('end', () => callback(null, Buffer.from('all')));
      },
    });
    ends.push(() => good.kill());
    const { front, client } = await gateway([{ port: bad.port, taken: () => taken }], plan(['unavailable']));
    const answer = new Promise<Buffer>((resolve, reject) => {
      const call = client.makeClientStreamRequest(paths.up, same, same, (error: ServiceError | null, value?: Buffer) =>
        error || !value ? reject(error) : resolve(value),
      );
      call.write(Buffer.from('1'));
      call.write(Buffer.from('2'));
      void until('the call to arrive', () => taken === 1).then(() => {
        front.setEndpoints([bad.port, good.port]);
        for (const text of ['3', '4', '5']) call.write(Buffer.from(text));
        call.end();
      });
    });
    assert.equal((await answer).toString(), 'all');
    assert.deepEqual(got, ['1', '2', '3', '4', '5']);
  });
});

describe('mayRetry', () => {
  it('lets a status of gRPC stand for any method, and nothing else that may have been processed', each, () => {
    const failed = { method: 'POST', tries: 1, replayable: true } as const;
    for (const condition of grpcRetryConditions) assert.ok(mayRetry(plan(everything), { ...failed, condition }));
    for (const condition of ['reset', 500, 503] as const) {
      assert.ok(!mayRetry(plan(everything), { ...failed, condition }), String(condition));
    }
    assert.ok(!mayRetry(plan(['connect']), { ...failed, condition: 'unavailable' }));
    assert.ok(!mayRetry(plan(everything), { ...failed, condition: 'unavailable', replayable: false }));
  });
});
