import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Circuit } from '../../src/gateway/balance/circuit.ts';
import { timingOf } from '../../src/gateway/balance/timing.ts';
import { RemoteLoad } from '../../src/gateway/balance/remote-load.ts';
import { type HealthChange, ServiceBook, type Subject } from '../../src/gateway/balance/service-book.ts';
import {
  afterFailure,
  afterReached,
  afterReset,
  afterTime,
  type Ejection,
  type EjectionRules,
  healthy,
  mayEject,
} from '../../src/gateway/health/ejection.ts';
import { isOutlier, OutcomeWindow } from '../../src/gateway/health/success-rate.ts';
import { type ClusterName, parseClusterName, parseReplicaName, parseServiceKey } from '../../src/model/names.ts';
import type { ServiceRoute } from '../../src/model/route.ts';
import { defaultOutlier, type OutlierPlan } from '../../src/model/traffic.ts';
import { step } from '../../src/policy/shares.ts';
import { serviceRoute } from './support/mesh.ts';

const rules: EjectionRules = {
  probeInitialMs: 250,
  probeMaxMs: 1000,
  outlier: { ...defaultOutlier, consecutiveFailures: 3, baseEjectionMs: 1000 },
};

function fail(state: Ejection, times: number, now: number): Ejection {
  let next = state;
  for (let time = 0; time < times; time += 1) next = afterFailure(next, { reason: 'x', now, mayEject: true }, rules);
  return next;
}

describe('Ejection', () => {
  it('is out after consecutive failures only', () => {
    assert.equal(fail(healthy, 2, 0).kind, 'in');
    assert.equal(fail(healthy, 3, 0).kind, 'out');
    assert.equal(fail(afterReached(fail(healthy, 2, 0), 1), 2, 2).kind, 'in');
  });

  it('comes back at the first success the first time, and later each time it flaps', () => {
    let state = fail(healthy, 3, 0);
    state = afterReached(state, 10);
    assert.equal(state.kind, 'in', 'first: at once');
    state = fail(state, 3, 20);
    assert.equal(afterReached(state, 1000).kind, 'out', 'second: not before the base');
    state = afterReached(state, 1020);
    assert.equal(state.kind, 'in');
    state = fail(state, 3, 1030);
    assert.equal(afterReached(state, 3000).kind, 'out', 'third: not before twice the base');
    assert.equal(afterReached(state, 3030).kind, 'in');
  });

  it('forgives what is long past', () => {
    let state = afterReached(fail(healthy, 3, 0), 10);
    state = fail(state, 3, 10_000);
    assert.equal(afterReached(state, 10_001).kind, 'in');
  });

  it('does not believe a probe when connections came to nothing: only time ends it', () => {
    let state: Ejection = healthy;
    for (let time = 0; time < 3; time += 1) {
      state = afterReached(state, 0);
      state = afterReset(state, { reason: 'reset', now: 0, mayEject: true }, rules);
    }
    assert.equal(state.kind, 'out');
    assert.equal(afterReached(state, 500).kind, 'out');
    assert.equal(afterTime(state, 999).kind, 'out');
    assert.equal(afterTime(state, 1000).kind, 'in');
  });

  it('never lasts longer than five minutes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), (rounds) => {
        let state: Ejection = healthy;
        let now = 0;
        for (let round = 0; round < rounds; round += 1) {
          state = fail(state, 3, now);
          now += 300_000;
          state = afterReached(state, now);
          assert.equal(state.kind, 'in');
        }
      }),
    );
  });
});

describe('mayEject', () => {
  it('keeps to the share, and always allows one', () => {
    const allowed = (total: number, maxEjected: number): number => {
      let out = 0;
      while (out < total && mayEject(out, total, { ...defaultOutlier, maxEjected })) out += 1;
      return out;
    };
    assert.deepEqual([allowed(1, 0.5), allowed(2, 0.5), allowed(3, 0.5), allowed(10, 0.5)], [1, 1, 1, 5]);
    assert.deepEqual([allowed(10, 0), allowed(10, 1)], [1, 10]);
  });
});

describe('isOutlier', () => {
  const of = (good: number, bad: number): { good: number; bad: number } => ({ good, bad });

  it('needs volume, a difference that matters, and one that is not chance', () => {
    assert.equal(isOutlier(of(0, 10), of(1000, 0)), false, 'too few');
    assert.equal(isOutlier(of(95, 5), of(1000, 0)), false, 'too small a difference');
    assert.equal(isOutlier(of(15, 6), of(19, 2)), false, 'may be chance');
    assert.equal(isOutlier(of(50, 50), of(990, 10)), true);
    assert.equal(isOutlier(of(0, 20), of(20, 0)), true, 'two are enough to compare');
    assert.equal(isOutlier(of(0, 100), of(0, 1000)), false, 'when all fail nobody is an outlier');
  });

  it('forgets after twenty seconds', () => {
    const window = new OutcomeWindow();
    window.note(false, 0);
    assert.deepEqual(window.tally(9999), { good: 0, bad: 1 });
    assert.deepEqual(window.tally(19_999), { good: 0, bad: 1 });
    assert.deepEqual(window.tally(20_000), { good: 0, bad: 0 });
  });
});

describe('ServiceBook', () => {
  const west = parseClusterName('west');
  const key = parseServiceKey('shop/web');

  function bookOf(outlier: Partial<OutlierPlan>): {
    readonly book: ServiceBook;
    readonly changes: HealthChange[];
    readonly failovers: string[];
    readonly endpoint: (port: number) => Subject;
    readonly reach: Map<ClusterName, 'up' | 'down'>;
  } {
    const changes: HealthChange[] = [];
    const failovers: string[] = [];
    const reach = new Map<ClusterName, 'up' | 'down'>();
    const book = new ServiceBook({
      self: west,
      step,
      rules,
      reach: (cluster) => reach.get(cluster) ?? 'up',
      onChange: (change) => void changes.push(change),
      onFailover: (service) => void failovers.push(service),
    });
    const route: ServiceRoute = {
      ...serviceRoute({ self: 'west', local: [1, 2, 3, 4], remote: ['east'] }),
      outlier: { ...rules.outlier, ...outlier },
    };
    book.setTable({ self: west, services: new Map([[key, route]]), clusters: new Map() }, 0);
    const entry = book.get(key);
    assert.ok(entry);
    const endpoint = (port: number): Subject => {
      const state = entry.endpoints.get(`127.0.0.1:${port}`);
      assert.ok(state);
      return { kind: 'endpoint', entry, state };
    };
    return { book, changes, failovers, endpoint, reach };
  }

  it('ejects no more than its share by outcomes, and the rest when a probe says so', () => {
    const { book, changes, endpoint } = bookOf({});
    for (const port of [1, 2, 3]) {
      for (let time = 0; time < 3; time += 1) book.failed(endpoint(port), { reason: 'ECONNREFUSED', now: 10 });
    }
    assert.deepEqual(
      changes.map(({ endpoint: id }) => id),
      ['127.0.0.1:1', '127.0.0.1:2'],
    );
    const probes = book.takeProbes(10, 10);
    assert.equal(probes.length, 1, 'the suspect is looked at at once');
    const [suspect] = probes;
    assert.ok(suspect);
    book.probeFailed(suspect, 20);
    assert.equal(changes.length, 3);
  });

  it('lets a suspect go when the probe succeeds', () => {
    const { book, changes, endpoint } = bookOf({ maxEjected: 0 });
    for (const port of [1, 2]) {
      for (let time = 0; time < 3; time += 1) book.failed(endpoint(port), { reason: 'x', now: 10 });
    }
    book.reached(endpoint(2), 20);
    book.probeFailed(endpoint(2), 30);
    assert.equal(changes.length, 1);
  });

  it('ejects the one that succeeds clearly less often, and takes it back after its time', () => {
    const { book, changes, endpoint } = bookOf({});
    for (let connection = 0; connection < 40; connection += 1) {
      for (const port of [1, 2, 3, 4]) {
        const outcome = port === 3 && connection % 2 === 0 ? 'reset' : 'good';
        book.reached(endpoint(port), 100);
        book.ended(endpoint(port), outcome, 100);
      }
    }
    book.judge(1000);
    assert.deepEqual(
      changes.map(({ endpoint: id, up }) => [id, up]),
      [['127.0.0.1:3', false]],
    );
    book.judge(1999);
    assert.equal(changes.length, 1);
    book.judge(2000);
    assert.deepEqual(
      changes.map(({ up }) => up),
      [false, true],
    );
  });

  it('does not compare when the policy says so', () => {
    const { book, changes, endpoint } = bookOf({ successRate: 'off', consecutiveFailures: 1000 });
    for (let connection = 0; connection < 100; connection += 1) {
      for (const port of [1, 2]) book.ended(endpoint(port), port === 1 ? 'reset' : 'good', 100);
    }
    book.judge(1000);
    assert.deepEqual(changes, []);
  });

  it('counts a failover once each time everything leaves the best tier', () => {
    const { book, failovers, endpoint } = bookOf({ maxEjected: 1 });
    for (const port of [1, 2, 3, 4]) {
      for (let time = 0; time < 3; time += 1) book.failed(endpoint(port), { reason: 'x', now: 10 });
    }
    assert.deepEqual(failovers, ['shop/web']);
    assert.equal(book.get(key)?.standing, 'Failover');
  });
});

describe('Circuit', () => {
  it('says which bound is reached, at its edge', () => {
    const circuit = new Circuit();
    const plan = { maxConnections: 3, maxPending: 2 };
    circuit.begin();
    assert.equal(circuit.overflow(plan), undefined);
    circuit.begin();
    assert.equal(circuit.overflow(plan), 'maxPending');
    circuit.settled();
    assert.equal(circuit.overflow(plan), undefined);
    circuit.begin();
    assert.equal(circuit.overflow(plan), 'maxConnections');
    circuit.settled();
    circuit.settled();
    circuit.ended();
    assert.deepEqual([circuit.open, circuit.pending, circuit.overflow(plan)], [2, 0, undefined]);
  });
});

describe('timingOf', () => {
  const limits = { connectTimeoutMs: 2000, raceAfterMs: 250 };

  it('stretches over distance, and obeys a policy', () => {
    assert.deepEqual(timingOf({}, limits, 1), { timeoutMs: 2000, raceAfterMs: 250 });
    assert.deepEqual(timingOf({}, limits, 300), { timeoutMs: 3000, raceAfterMs: 1200 });
    assert.deepEqual(timingOf({ connectTimeoutMs: 100 }, limits, 300), { timeoutMs: 100, raceAfterMs: 100 });
    assert.deepEqual(timingOf({ raceAfterMs: 50 }, limits, 300), { timeoutMs: 3000, raceAfterMs: 50 });
  });
});

describe('RemoteLoad', () => {
  it('adds up what was said lately', () => {
    const load = new RemoteLoad();
    const [one, two] = [parseReplicaName('gw0'), parseReplicaName('gw1')];
    assert.equal(load.total(0), undefined);
    load.note(one, 5, 0);
    load.note(two, 7, 8000);
    assert.deepEqual([load.total(9000), load.of(one, 9000)], [12, 5]);
    assert.deepEqual([load.total(11_000), load.of(one, 11_000)], [7, undefined]);
  });
});
