import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { type Idle, IdlePool } from '../../../src/gateway/http/idle-pool.ts';
import { exchange, open, readToEnd } from '../support/client.ts';
import { until } from '../support/mesh.ts';
import { startPair } from './support/pair.ts';
import { ok, recorder } from './support/recorder.ts';
import { startStage } from './support/stage.ts';

const timeout = 60_000;
const get = 'GET / HTTP/1.1\r\nHost: shop\r\n\r\n';

class Kept implements Idle {
  reuseUntil: number;
  usable = true;
  closed = 0;

  constructor(reuseUntil: number) {
    this.reuseUntil = reuseUntil;
  }

  close(): void {
    this.closed += 1;
  }
}

describe('IdlePool', () => {
  const here = {};
  const there = {};
  const roomy = { total: 100, perPlace: 100 };

  it('gives the one used last, once, and only for its own place', () => {
    const pool = new IdlePool<object, Kept>(roomy);
    const [first, second] = [new Kept(100), new Kept(100)];
    pool.put(here, first);
    pool.put(here, second);
    assert.equal(pool.take(there, 0), undefined);
    assert.deepEqual([pool.take(here, 0), pool.take(here, 0), pool.take(here, 0)], [second, first, undefined]);
    assert.equal(pool.size, 0);
  });

  it('closes what is too old or broken instead of giving it', () => {
    const pool = new IdlePool<object, Kept>(roomy);
    const [good, old, broken] = [new Kept(100), new Kept(50), new Kept(100)];
    broken.usable = false;
    for (const one of [good, old, broken]) pool.put(here, one);
    assert.equal(pool.take(here, 50), good);
    assert.deepEqual([good.closed, old.closed, broken.closed, pool.size], [0, 1, 1, 0]);
  });

  it('keeps one that is not fresh enough for those to whom that does not matter', () => {
    const pool = new IdlePool<object, Kept>(roomy);
    const one = new Kept(100);
    pool.put(here, one);
    assert.equal(
      pool.take(here, 0, () => false),
      undefined,
    );
    assert.equal(one.closed, 0);
    assert.equal(pool.take(here, 0), one);
  });

  it('closes what there is no room for: in all, and of one place', () => {
    const pool = new IdlePool<object, Kept>({ total: 3, perPlace: 2 });
    const at = (place: object): Kept => {
      const one = new Kept(100);
      pool.put(place, one);
      return one;
    };
    const kept = [at(here), at(here)];
    assert.equal(at(here).closed, 1);
    kept.push(at(there));
    assert.equal(at(there).closed, 1);
    assert.ok(kept.every(({ closed }) => closed === 0));
    assert.equal(pool.size, 3);
  });

  it('sweeps away what is old, broken or leads nowhere, and forgets what has closed by itself', () => {
    const pool = new IdlePool<object, Kept>(roomy);
    const [good, old, gone, broken, left] = [100, 10, 100, 100, 100].map((until) => new Kept(until));
    assert.ok(good && old && gone && broken && left);
    broken.usable = false;
    for (const one of [good, old, broken, left]) pool.put(here, one);
    pool.put(there, gone);
    pool.remove(here, left);
    pool.sweep(50, (place) => place === here);
    assert.deepEqual(
      [good, old, gone, broken, left].map(({ closed }) => closed),
      [0, 1, 1, 1, 0],
    );
    assert.equal(pool.size, 1);
    pool.clear();
    assert.deepEqual([good.closed, pool.size], [1, 0]);
  });
});

describe('connections that wait for their next request', () => {
  it('are closed after httpUpstreamIdle, or earlier when their server says so', { timeout }, async () => {
    let keepAlive = '';
    const backend = recorder(() => `HTTP/1.1 200 OK\r\n${keepAlive}Content-Length: 2\r\n\r\nok`);
    const stage = await startStage({ serve: [backend.serve], limits: { httpUpstreamIdleMs: 60_000 } });
    const connections = (): number => stage.backends[0]?.connections.size ?? 0;
    try {
      keepAlive = 'Keep-Alive: timeout=1\r\n';
      await exchange(stage.port, get);
      assert.equal(connections(), 1);
      await until('it to be closed', () => connections() === 0);
      keepAlive = '';
      await exchange(stage.port, get);
      assert.equal(connections(), 1);
    } finally {
      await stage.close();
    }
    const brief = await startStage({ serve: [backend.serve], limits: { httpUpstreamIdleMs: 50 } });
    try {
      await exchange(brief.port, get);
      await until('it to be closed', () => brief.backends[0]?.connections.size === 0);
    } finally {
      await brief.close();
    }
  });

  it('are closed when their endpoint leaves, and when the service does', { timeout }, async () => {
    const backends = [recorder(), recorder()];
    const stage = await startStage({ serve: backends.map(({ serve }) => serve) });
    const connections = (): number[] => stage.backends.map((one) => one.connections.size);
    try {
      await until('both to be used', () => {
        void exchange(stage.port, get);
        return connections().every((count) => count > 0);
      });
      await until('all answers', () => stage.node.access.length > 1);
      stage.setRoute((route) => ({ ...route, endpoints: route.endpoints.slice(0, 1) }));
      await until('those of the second to be closed', () => connections()[1] === 0);
      assert.ok((connections()[0] ?? 0) > 0);
      stage.node.table.set({ ...stage.node.table.current, services: new Map() });
      await until('all to be closed', () => connections()[0] === 0);
    } finally {
      await stage.close();
    }
  });

  it('a tunnel ends at its age, between two requests, and another takes over without a failure', {
    timeout,
  }, async () => {
    const backend = recorder();
    const pair = await startPair({ serve: [backend.serve], limits: { west: { httpTunnelAgeMs: 150 } } });
    try {
      const socket = await open(pair.port);
      const reading = readToEnd(socket);
      let asked = 0;
      while ((pair.backends[0]?.accepted() ?? 0) < 4) {
        asked += 1;
        socket.write(get);
        await once(socket, 'data');
      }
      socket.end();
      assert.equal((await reading).received.toString(), ok.repeat(asked));
      assert.ok(asked > 4, 'shared while it lasts');
      assert.ok(pair.west.access.every(({ response_flags: flag }) => flag === '-'));
    } finally {
      await pair.close();
    }
  });
});
