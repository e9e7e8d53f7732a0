import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeRoster, encodeRoster } from '../../src/wire/roster.ts';
import { a, b, entryOf, rosterOf } from '../trust/support/federation.ts';

const roster = rosterOf([
  entryOf(b, []),
  { ...entryOf(a, []), labels: { zone: 'x', area: 'y' }, caKeyIds: ['ab', 'aa'] },
]);

test('decodeRoster reads what encodeRoster writes, in one order', () => {
  const back = decodeRoster(encodeRoster(roster));
  assert.deepEqual([...back.clusters.keys()], ['a', 'b']);
  assert.deepEqual(back.clusters.get(a)?.labels, { zone: 'x', area: 'y' });
  assert.deepEqual(Buffer.from(encodeRoster(back)), Buffer.from(encodeRoster(roster)));
});

test('decodeRoster refuses damage, duplicates and trust domains that do not follow from the name', () => {
  const text = Buffer.from(encodeRoster(roster)).toString();
  for (const bad of [
    '',
    'null',
    '[]',
    text.slice(0, -1),
    text.replace('"version":1', '"version":2'),
    text.replace('"b.mesh.example"', '"a.mesh.example"'),
    text.replace('"sequence":1', '"sequence":-1'),
    text.replace('"sequence":1', '"sequence":1.5'),
    text.replaceAll('"b', '"a'),
    text.replaceAll('"b', '"authority'),
  ]) {
    assert.throws(() => decodeRoster(Buffer.from(bad)), { code: 'corrupt' }, bad.slice(0, 60));
  }
  assert.throws(() => decodeRoster(Buffer.alloc((4 << 20) + 1)), /over the limit/);
});
