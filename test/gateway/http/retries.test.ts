import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { mayRetry, RetryBudget } from '../../../src/gateway/http/retry.ts';
import { defaultRetries, type HttpPlan, type RetryPlan } from '../../../src/model/traffic.ts';
import { exchange, open, readToEnd } from '../support/client.ts';
import { until } from '../support/mesh.ts';
import { ok, recorder } from './support/recorder.ts';
import { type Stage, type StageOptions, startStage } from './support/stage.ts';

const all: RetryPlan = { attempts: 3, on: ['connect', 'reset', 502, 503, 504], budget: 1 };
const send = (method: string, fields = '', body = ''): string =>
  `${method} / HTTP/1.1\r\nHost: shop\r\n${fields}\r\n${body}`;
const unavailable = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy';

const statusOf = (received: Buffer): string => received.toString().split(' ', 2)[1] ?? '';

async function withStage(
  options: Omit<StageOptions, 'route'> & { readonly http?: HttpPlan },
  use: (stage: Stage) => Promise<void>,
): Promise<void> {
  const { http, ...rest } = options;
  const stage = await startStage({
    ...rest,
    // Turns are certain; chance would try the same endpoint first now and then.
    route: {
      loadBalancing: { algorithm: 'roundRobin', slowStartMs: 0 },
      outlier: { consecutiveFailures: 1000, successRate: 'off', baseEjectionMs: 10, maxEjected: 0 },
      ...(http && { http }),
    },
  });
  try {
    await use(stage);
  } finally {
    await stage.close();
  }
}

/** Takes the whole head, then resets. */
const cutter = (socket: Socket): undefined => {
  socket.resetAndDestroy();
  return undefined;
};

describe('mayRetry', () => {
  it('repeats what cannot have been processed whatever its method, anything else only when twice does no harm', () => {
    const tried = { tries: 1, replayable: true };
    assert.ok(mayRetry(all, { ...tried, condition: 'connect', method: 'POST' }));
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']) {
      assert.ok(mayRetry(all, { ...tried, condition: 'reset', method }), method);
    }
    for (const method of ['POST', 'PATCH', 'PURGE', 'get']) {
      for (const condition of ['reset', 502, 503, 504] as const) {
        assert.ok(!mayRetry(all, { ...tried, condition, method }), `${method} ${condition}`);
      }
    }
  });

  it('never goes beyond its attempts, its conditions, or what is left of the body', () => {
    const failed = { condition: 503, method: 'GET', tries: 1, replayable: true } as const;
    assert.ok(mayRetry(all, { ...failed, tries: 3 }));
    assert.ok(!mayRetry(all, { ...failed, tries: 4 }));
    assert.ok(!mayRetry(all, { ...failed, condition: 500 }));
    assert.ok(!mayRetry(all, { ...failed, replayable: false }));
    assert.ok(!mayRetry({ ...all, attempts: 0 }, failed));
    assert.ok(!mayRetry(defaultRetries, failed));
  });
});

describe('RetryBudget', () => {
  it('grants a part of the active requests, and always a few', () => {
    const budget = new RetryBudget();
    for (let count = 0; count < 50; count += 1) budget.begin();
    const granted = Array.from({ length: 50 }, () => budget.take({ budget: 0.2 })).filter(Boolean).length;
    assert.equal(granted, 10);
    budget.ended(true);
    assert.ok(!budget.take({ budget: 0.2 }), 'of 49 no more than 9');
    const few = new RetryBudget();
    few.begin();
    assert.deepEqual(
      [1, 2, 3, 4].map(() => few.take({ budget: 0.2 })),
      [true, true, true, false],
    );
  });
});

describe('a request that fails', () => {
  it('is tried at another endpoint, and the log says so', async () => {
    const [bad, good] = [recorder((_, socket) => cutter(socket)), recorder()];
    await withStage({ serve: [bad.serve, good.serve], http: { retries: all } }, async (stage) => {
      for (let count = 0; count < 6; count += 1)
        assert.equal(statusOf((await exchange(stage.port, send('GET'))).received), '200');
      const entries = await stage.logged(6);
      assert.ok(entries.some((entry) => entry.upstream_request_attempt_count === 2));
      assert.ok(entries.every((entry) => entry.response_flags === '-'));
    });
  });

  it('is answered by the one that is well when others say 503', async () => {
    const [bad, good] = [recorder(() => unavailable), recorder()];
    await withStage({ serve: [bad.serve, good.serve], http: { retries: all } }, async (stage) => {
      for (let count = 0; count < 6; count += 1)
        assert.equal(statusOf((await exchange(stage.port, send('GET'))).received), '200');
      assert.ok(bad.seen().length > 0);
    });
  });

  it('gets the last answer when there is no better one', async () => {
    const bad = recorder(() => unavailable);
    await withStage({ serve: [bad.serve], http: { retries: all } }, async (stage) => {
      const { received } = await exchange(stage.port, send('GET'));
      assert.equal(received.toString(), unavailable);
      assert.equal((await stage.logged(1))[0]?.upstream_request_attempt_count, 4);
    });
  });

  it('is never sent twice when it is not idempotent and may have been processed', async () => {
    for (const behaviour of [cutter, () => unavailable]) {
      const backends = [recorder((_, socket) => behaviour(socket)), recorder((_, socket) => behaviour(socket))];
      await withStage({ serve: backends.map(({ serve }) => serve), http: { retries: all } }, async (stage) => {
        for (let count = 0; count < 8; count += 1) {
          const id = `X-Id: <${count}>\r\n`;
          const { received } = await exchange(stage.port, send('POST', `${id}Content-Length: 2\r\n`, 'hi'));
          assert.match(statusOf(received), /^50[23]$/);
        }
        const seen = backends.flatMap((backend) => backend.seen()).join('');
        for (let count = 0; count < 8; count += 1) assert.equal(seen.split(`<${count}>`).length - 1, 1, 'sent once');
      });
    }
  });

  it('is sent again with its body when that was kept', async () => {
    const [bad, good] = [recorder((_, socket) => cutter(socket)), recorder()];
    await withStage({ serve: [bad.serve, good.serve], http: { retries: all } }, async (stage) => {
      for (let count = 0; count < 4; count += 1) {
        const { received } = await exchange(stage.port, send('PUT', 'Content-Length: 5\r\n', 'hello'));
        assert.equal(statusOf(received), '200');
      }
      assert.equal(
        good
          .seen()
          .join('')
          .match(/\r\n\r\nhello/g)?.length,
        4,
      );
    });
  });

  it('is not tried again when more of its body was sent than is kept', async () => {
    const wait = (fresh: string, socket: Socket): undefined => (fresh.length > 150_000 ? cutter(socket) : undefined);
    const backends = [recorder(wait), recorder(wait)];
    const limits = { httpReplayBytes: 100_000 };
    await withStage({ serve: backends.map(({ serve }) => serve), limits, http: { retries: all } }, async (stage) => {
      const { received } = await exchange(stage.port, send('PUT', 'Content-Length: 200000\r\n', 'x'.repeat(200_000)));
      assert.equal(statusOf(received), '502');
      assert.equal((await stage.logged(1))[0]?.upstream_request_attempt_count, 1);
    });
  });

  it('is never tried again once the client has seen a byte of an answer', async () => {
    const cutLate = (_: string, socket: Socket): undefined => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc', () => socket.resetAndDestroy());
      return undefined;
    };
    const backends = [recorder(cutLate), recorder(cutLate)];
    await withStage({ serve: backends.map(({ serve }) => serve), http: { retries: all } }, async (stage) => {
      const { received, end } = await exchange(stage.port, send('GET'));
      assert.equal(end, 'reset');
      assert.ok(received.toString().endsWith('abc') || received.length === 0);
      assert.equal((await stage.logged(1))[0]?.upstream_request_attempt_count, 1);
    });
  });

  it('does not notice that a resting connection was closed by its other end', async () => {
    // Answers, and closes a moment later without a word: the next request may just be on its way.
    const backend = recorder();
    await withStage({ serve: [backend.serve] }, async (stage) => {
      for (let count = 0; count < 5; count += 1) {
        assert.equal(statusOf((await exchange(stage.port, send('GET'))).received), '200');
        const [server] = stage.backends;
        for (const socket of server?.connections ?? []) socket.destroy();
      }
      const entries = await stage.logged(5);
      assert.ok(entries.every((entry) => entry.response_code === 200));
    });
  });

  it('is repeated by itself when a connection that rested breaks before it answers', async () => {
    let requests = 0;
    const backend = recorder((_, socket) => {
      requests += 1;
      return requests === 2 ? cutter(socket) : ok;
    });
    await withStage({ serve: [backend.serve] }, async (stage) => {
      assert.equal(statusOf((await exchange(stage.port, send('GET'))).received), '200');
      assert.equal(statusOf((await exchange(stage.port, send('GET'))).received), '200');
      assert.equal(requests, 3);
    });
  });
});

describe('time-outs', () => {
  const silent = recorder(() => undefined);

  it('504 when no response begins in time', async () => {
    await withStage(
      { serve: [silent.serve], http: { timeoutMs: 150, retries: { ...all, attempts: 0 } } },
      async (stage) => {
        const { received } = await exchange(stage.port, send('GET'));
        assert.match(
          received.toString(),
          /^HTTP\/1\.1 504 Gateway Timeout\r\n[^]*\r\n\r\nThe service did not answer in time\n$/,
        );
        const [entry] = await stage.logged(1);
        assert.deepEqual([entry?.response_code, entry?.response_flags], [504, 'UT']);
      },
    );
  });

  it('each try has its own, and the next endpoint its turn', async () => {
    const good = recorder();
    const http = { timeoutMs: 20_000, retries: { ...all, perTryMs: 150 } };
    await withStage({ serve: [silent.serve, good.serve], http }, async (stage) => {
      for (let count = 0; count < 4; count += 1)
        assert.equal(statusOf((await exchange(stage.port, send('GET'))).received), '200');
      assert.ok((await stage.logged(4)).some((entry) => entry.upstream_request_attempt_count === 2));
    });
  });

  it('do not end a response that has begun', async () => {
    const slow = recorder((_, socket) => {
      setTimeout(() => socket.write('ok'), 500).unref();
      return 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n';
    });
    await withStage({ serve: [slow.serve], http: { timeoutMs: 150, retries: all } }, async (stage) => {
      assert.ok((await exchange(stage.port, send('GET'))).received.toString().endsWith('\r\n\r\nok'));
    });
  });

  it('a request without a byte for long is cut', async () => {
    const http = { timeoutMs: 0, idleTimeoutMs: 50, retries: all };
    await withStage({ serve: [silent.serve], http }, async (stage) => {
      const { received } = await exchange(stage.port, send('GET'));
      assert.equal(statusOf(received), '504');
      assert.equal((await stage.logged(1))[0]?.response_flags, 'SI');
    });
  });
});

describe('without anywhere to go', () => {
  it('503 UH when nothing serves, 503 when nothing can be reached', async () => {
    await withStage({ serve: [] }, async (stage) => {
      const { received } = await exchange(stage.port, send('GET'));
      assert.match(
        received.toString(),
        /^HTTP\/1\.1 503 Service Unavailable\r\n[^]*No instance of the service is available\n$/,
      );
      assert.equal((await stage.logged(1))[0]?.response_flags, 'UH');
    });
    await withStage({ serve: [recorder().serve] }, async (stage) => {
      await stage.backends[0]?.kill();
      const { received } = await exchange(stage.port, send('GET'));
      assert.match(received.toString(), /^HTTP\/1\.1 503 [^]*The service cannot be reached\n$/);
      assert.match((await stage.logged(1))[0]?.response_flags ?? '', /^(UF|URX)$/);
    });
  });

  it('503 UO at once when the bound of the service is reached, and again 200 below it', async () => {
    const sockets: Socket[] = [];
    const backend = recorder((fresh, socket) => {
      if (!fresh.slice(fresh.lastIndexOf('GET ')).startsWith('GET /hold')) return ok;
      sockets.push(socket);
      return undefined;
    });
    await withStage({ serve: [backend.serve] }, async (stage) => {
      stage.setRoute((route) => ({ ...route, connection: { maxConnections: 1, maxPending: 10 } }));
      // Both are there before the bound is reached: it is one of requests, and each is answered.
      const [held, client] = [await open(stage.port), await open(stage.port)];
      const [reading, refused] = [readToEnd(held), readToEnd(client)];
      held.write('GET /hold HTTP/1.1\r\nHost: shop\r\n\r\n');
      client.write('GET / HTTP/1.1\r\n');
      await until('the held request', () => sockets.length === 1);
      client.end('Host: shop\r\n\r\n');
      const { received } = await refused;
      assert.match(received.toString(), /^HTTP\/1\.1 503 [^]*Too many requests are in progress\n$/);
      assert.equal((await stage.logged(1))[0]?.response_flags, 'UO');
      sockets[0]?.write(ok);
      held.end();
      await reading;
      assert.equal(statusOf((await exchange(stage.port, send('GET'))).received), '200');
    });
  });
});
