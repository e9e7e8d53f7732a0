import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventList } from '../../src/federation/event-list.ts';
import { east, south, west } from './support/federation.ts';

test('EventList: counts repetitions, keeps order of the last time, and stays small', () => {
  const events = new EventList();
  events.add({ cluster: east, kind: 'rollback', detail: 'old' }, 1000);
  events.add({ cluster: west, kind: 'rollback', detail: 'old' }, 2000);
  events.add({ cluster: east, kind: 'rollback', detail: 'old' }, 3000);
  assert.deepEqual(events.list(), [
    { cluster: west, kind: 'rollback', detail: 'old', count: 1, firstAt: 2000, at: 2000 },
    { cluster: east, kind: 'rollback', detail: 'old', count: 2, firstAt: 1000, at: 3000 },
  ]);
  for (let index = 0; index < 1000; index += 1) {
    events.add({ cluster: east, kind: 'malformed', detail: `${index} ${'x'.repeat(10_000)}` }, 4000);
  }
  const list = events.list();
  assert.equal(list.length, 256);
  assert.ok(list.every(({ detail }) => detail.length <= 500));
  assert.match(list.at(-1)?.detail ?? '', /^999 /);
});

test('EventList: a cluster that makes trouble without end does not hide the trouble of others', () => {
  const events = new EventList();
  events.add({ cluster: west, kind: 'left', detail: 'it said good-bye' }, 1);
  for (let index = 0; index < 1000; index += 1) {
    events.add({ cluster: east, kind: 'malformed', detail: `record ${index}` }, 2 + index);
  }
  events.add({ cluster: south, kind: 'rollback', detail: 'old' }, 2000);
  const list = events.list();
  assert.equal(list.length, 256);
  assert.deepEqual([list[0]?.cluster, list.at(-1)?.cluster], [west, south]);
});
