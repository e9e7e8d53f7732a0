import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Moves } from '../../src/gateway/balance/moves.ts';
import { ServiceBook } from '../../src/gateway/balance/service-book.ts';
import { parseClusterName, parseReplicaName, parseServiceKey } from '../../src/model/names.ts';
import type { ServiceRoute } from '../../src/model/route.ts';
import { step } from '../../src/policy/shares.ts';
import { decodeReport, type MoveReport, ReportEncoder } from '../../src/wire/gateway-report.ts';
import { serviceRoute } from './support/mesh.ts';

const west = parseClusterName('west');
const east = parseClusterName('east');
const key = parseServiceKey('shop/web');

/** West's gateway, of which shop/web is served here and in east; `reach` is what it can reach. */
function gateway(over: Partial<ServiceRoute> = {}): {
  readonly moves: Moves;
  readonly book: ServiceBook;
  readonly fail: (now: number) => void;
  readonly heal: (now: number) => void;
  readonly told: (since?: number) => string[];
} {
  const moves = new Moves(7);
  const book = new ServiceBook({
    self: west,
    step,
    rules: { probeInitialMs: 250, probeMaxMs: 1000 },
    reach: () => 'up',
    onChange: () => undefined,
    moves,
  });
  const route = { ...serviceRoute({ self: 'west', local: [1], remote: ['east'] }), ...over };
  book.setTable({ self: west, services: new Map([[key, route]]), clusters: new Map() }, 0);
  const set = (ready: boolean, now: number): void => {
    const endpoints = route.endpoints.map((endpoint) => ({ ...endpoint, ready }));
    book.setTable({ self: west, services: new Map([[key, { ...route, endpoints }]]), clusters: new Map() }, now);
  };
  return {
    moves,
    book,
    fail: (now) => set(false, now),
    heal: (now) => set(true, now),
    told: (since = 0) =>
      moves
        .after(since, { now: 1e6, limit: 100 })
        .map(
          ({ from, to, shares }) =>
            `${from}→${to} ${shares.map(({ cluster, share }) => `${cluster} ${share}`).join(' ')}`,
        ),
  };
}

const atOnce = { failover: { healthyThreshold: 0.7, holdMs: 0, returnOverMs: 0 } };

describe('Moves', () => {
  it('tells of what lasted for a millisecond', () => {
    const { fail, heal, told, moves } = gateway(atOnce);
    assert.deepEqual(told(), [], 'where it begins is no change');
    fail(1000);
    heal(1001);
    assert.deepEqual(told(), ['Active→Failover east 1', 'Failover→Active west 1']);
    const [first, second] = moves.after(0, { now: 1500, limit: 100 });
    assert.deepEqual([first?.sequence, second?.sequence], [7, 8]);
    assert.deepEqual([first?.agoMs, second?.agoMs], [500, 499]);
    assert.match(first?.why ?? '', /^west: .*; east: /);
  });

  it('tells of a return by its notable steps and its end, not by each step', () => {
    const { book, fail, heal, told } = gateway({
      failover: { healthyThreshold: 0.7, holdMs: 0, returnOverMs: 10_000 },
    });
    fail(1000);
    heal(1100);
    for (let now = 1100; now < 13_000; now += 250) book.refresh(now);
    const shares = told();
    assert.ok(shares.length >= 4 && shares.length <= 14, shares.join('\n'));
    assert.equal(shares.at(-1), 'Spill→Active west 1');
  });

  it('tells only of what is asked for: since a moment, and of many the newest', () => {
    const { fail, heal, told, moves } = gateway(atOnce);
    for (let turn = 1; turn <= 3; turn += 1) {
      fail(turn * 1000);
      heal(turn * 1000 + 1);
    }
    assert.equal(told().length, 6);
    assert.equal(told(2000).length, 4);
    assert.equal(told(3002).length, 0);
    assert.deepEqual(
      moves.after(0, { now: 4000, limit: 2 }).map(({ sequence }) => sequence),
      [11, 12],
    );
  });

  it('is bounded', () => {
    const { fail, heal, moves } = gateway(atOnce);
    for (let turn = 1; turn <= 15_000; turn += 1) {
      fail(turn);
      heal(turn);
    }
    const kept = moves.after(0, { now: 20_000, limit: 1e6 });
    assert.ok(kept.length <= 20_000, String(kept.length));
    assert.equal(kept.at(-1)?.sequence, 7 + 30_000 - 1);
  });

  it('crosses to the agent', () => {
    const { fail, moves } = gateway(atOnce);
    fail(1000);
    const told: readonly MoveReport[] = moves.after(0, { now: 1200, limit: 10 });
    const report = {
      instance: parseReplicaName('gw-0'),
      version: '1',
      ready: true,
      draining: false,
      tableDigest: '',
      links: [],
      services: [],
      moves: told,
    };
    assert.deepEqual(decodeReport(new ReportEncoder().encode(report)).moves, told);
    assert.equal(told[0]?.shares[0]?.cluster, east);
  });
});
