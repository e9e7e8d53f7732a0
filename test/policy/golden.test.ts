import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import type { ClusterName } from '../../src/model/names.ts';
import type { ServiceRoute } from '../../src/model/route.ts';
import { compile } from '../../src/policy/compile.ts';
import type { CompileInput } from '../../src/policy/compile-input.ts';
import { noDrains, resolveDrains } from '../../src/policy/drain.ts';
import { east, inputOf, type Member, south, trafficSet, web, west } from './support/federation.ts';
import { type StoryOptions, tell } from './support/story.ts';

/**
 * Stories of where traffic goes, second by second. A change of behaviour shows as a change of a table that people can
 * read: run with UPDATE_GOLDEN=1, look at the difference, and commit it if it is meant.
 */

const members: readonly Member[] = [
  { name: west, endpoints: 10, labels: { region: 'eu' }, concurrent: 10 },
  { name: east, endpoints: 10, labels: { region: 'eu' }, concurrent: 10 },
  { name: south, endpoints: 5, labels: { region: 'us', compliance: 'pci' }, concurrent: 10 },
];
const slow = { hold: '10s', returnOver: '20s' };

function route(spec: object, over: Partial<CompileInput> = {}): ServiceRoute {
  const found = compile(inputOf(west, members, { policies: trafficSet(spec), ...over })).services.get(web);
  assert.ok(found);
  return found;
}

function health(cluster: ClusterName, part: number): ReadonlyMap<ClusterName, { health: number; reachable: boolean }> {
  return new Map([[cluster, { health: part, reachable: part > 0 }]]);
}

function drained(state: 'drained' | 'active', at: number, from: number): ServiceRoute {
  const record = {
    kind: 'drain',
    target: { cluster: west },
    state,
    overMs: 20_000,
    issuedAt: at * 1000,
    from,
    by: 'op',
  } as const;
  const drains = resolveDrains([{ publisher: east, record }], {
    mayOperate: () => true,
    now: at * 1000,
    before: noDrains,
  });
  return route({ failover: slow }, { drains });
}

const stories: readonly (readonly [string, StoryOptions])[] = [
  [
    'degrade-and-recover',
    {
      route: route({
        failover: { ...slow, healthyThreshold: '70%' },
        locality: { tiers: [{ match: { region: 'same' } }] },
      }),
      everySeconds: 2,
      untilSeconds: 120,
      happenings: [
        { at: 0, what: 'all is well' },
        { at: 10, what: 'west loses endpoints: 80 % healthy, still above the threshold', facts: health(west, 0.8) },
        { at: 14, what: 'west: 50 % healthy', facts: health(west, 0.5) },
        { at: 18, what: 'west: 20 % healthy', facts: health(west, 0.2) },
        { at: 22, what: 'west is gone', facts: health(west, 0) },
        { at: 30, what: 'west comes back whole', facts: health(west, 1) },
        { at: 70, what: 'east is lost too, west carries on', facts: health(east, 0) },
        { at: 80, what: 'west falls to 30 %', facts: health(west, 0.3) },
        { at: 90, what: 'both are whole again', facts: new Map([...health(west, 1), ...health(east, 1)]) },
      ],
    },
  ],
  [
    'drain-and-undrain',
    {
      route: route({ failover: slow }),
      everySeconds: 4,
      untilSeconds: 70,
      happenings: [
        { at: 4, what: 'an operator drains west over 20 s', route: drained('drained', 4, 1) },
        { at: 30, what: 'and brings it back over 20 s', route: drained('active', 30, 0) },
      ],
    },
  ],
  [
    'spill-by-load',
    {
      route: route({ failover: { ...slow, spillAt: '80%' }, locality: { tiers: [{ match: { region: 'same' } }] } }),
      everySeconds: 2,
      untilSeconds: 60,
      happenings: [
        { at: 0, what: 'west carries 50 of its 100 connections', facts: new Map([[west, { load: 50 }]]) },
        { at: 6, what: '85', facts: new Map([[west, { load: 85 }]]) },
        { at: 10, what: '95', facts: new Map([[west, { load: 95 }]]) },
        { at: 14, what: 'east is at 95 as well: south is next', facts: new Map([[east, { load: 95 }]]) },
        {
          at: 20,
          what: 'the rush is over',
          facts: new Map([
            [west, { load: 20 }],
            [east, { load: 20 }],
          ]),
        },
      ],
    },
  ],
  [
    'placement-holds',
    {
      route: route({ failover: slow, placement: { require: { compliance: 'pci' } } }),
      everySeconds: 4,
      untilSeconds: 40,
      happenings: [
        { at: 4, what: 'south, the only cluster that may serve it, is lost', facts: health(south, 0) },
        { at: 20, what: 'south is back', facts: health(south, 1) },
      ],
    },
  ],
  [
    'canary',
    {
      route: route({
        failover: slow,
        locality: {
          preferLocal: false,
          tiers: [{ match: { clusters: ['west', 'east'] }, weights: { west: 95, east: 5 } }],
        },
      }),
      everySeconds: 4,
      untilSeconds: 60,
      happenings: [
        {
          at: 8,
          what: 'the canary grows to half',
          route: route({
            failover: slow,
            locality: {
              preferLocal: false,
              tiers: [{ match: { clusters: ['west', 'east'] }, weights: { west: 50, east: 50 } }],
            },
          }),
        },
        { at: 16, what: 'the canary dies', facts: health(east, 0) },
        { at: 24, what: 'and comes back', facts: health(east, 1) },
      ],
    },
  ],
  [
    'flapping',
    {
      route: route({ failover: slow }),
      everySeconds: 4,
      untilSeconds: 80,
      happenings: [
        { at: 0, what: 'all is well' },
        ...Array.from({ length: 40 }, (_, index) => ({
          at: 4 + index / 2,
          what: index % 2 === 0 ? 'west fails' : 'west answers again',
          facts: health(west, index % 2),
        })),
        { at: 30, what: 'west stays up from now on', facts: health(west, 1) },
      ],
    },
  ],
];

suite('stories', () => {
  for (const [name, story] of stories) {
    test(name, () => {
      const file = new URL(`../golden/policy/${name}.txt`, import.meta.url);
      const told = tell(story);
      if (process.env['UPDATE_GOLDEN']) writeFileSync(file, told);
      assert.equal(told, readFileSync(file, 'utf8'));
    });
  }
});
