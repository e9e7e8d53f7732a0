import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { canonicalJson } from '../../src/wire/canonical-json.ts';
import { decodeRecord, encodeRecord } from '../../src/wire/record.ts';

type Golden = readonly (readonly [key: string, bytes: Buffer])[];

/** Files of `test/golden` are never changed: what a version once wrote stays readable. New shapes get new files. */
async function golden(name: string): Promise<Golden> {
  const text = await readFile(new URL(`../golden/records-${name}.json`, import.meta.url), 'utf8');
  return Object.entries(JSON.parse(text) as object).map(([key, value]) => [key, Buffer.from(canonicalJson(value))]);
}

for (const name of ['first', 'present', 'future']) {
  test(`records of the ${name} version: read, and written again to the very same bytes`, async () => {
    const records = await golden(name);
    assert.ok(records.length > 0);
    for (const [key, bytes] of records) {
      const decoded = decodeRecord(key, bytes);
      assert.ok(decoded.ok, `${key}: ${JSON.stringify(decoded)}`);
      assert.equal(Buffer.from(encodeRecord(decoded.record)).toString(), bytes.toString());
    }
  });
}

test('records of the present version: every kind is there', async () => {
  const kinds = (await golden('present')).map(([, bytes]) => (JSON.parse(bytes.toString()) as { kind: string }).kind);
  assert.deepEqual(kinds.toSorted(), ['drain', 'export', 'gateway', 'import', 'link', 'policy', 'tombstone']);
});

test('a kind or version that is not known is told apart from damage', () => {
  for (const text of ['{"v":1,"kind":"quota","limit":7}', '{"v":2,"kind":"export"}']) {
    const decoded = decodeRecord('export/shop/web', Buffer.from(text));
    assert.ok(!decoded.ok && decoded.unknown, text);
  }
  for (const text of ['{"v":0,"kind":"export"}', '{"v":1,"kind":7}', '{"kind":"export"}', '{"v":1,"kind":"export"}']) {
    const decoded = decodeRecord('export/shop/web', Buffer.from(text));
    assert.ok(!decoded.ok && !decoded.unknown, text);
  }
});
