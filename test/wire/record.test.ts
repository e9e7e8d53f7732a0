import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseClusterName } from '../../src/model/names.ts';
import { type ClusterRecord, recordKeyOf } from '../../src/model/record.ts';
import { decodeRecord, encodeRecord, maxRecordBytes } from '../../src/wire/record.ts';
import { exportOf, gatewayOf } from '../federation/support/federation.ts';

const link: ClusterRecord = { kind: 'link', to: parseClusterName('west'), up: true, rttMs: 12, since: 5 };
const web = exportOf('shop/web', { capacity: { rps: 10 }, labels: { tier: 'gold', app: 'web' } });
const tombstone: ClusterRecord = { kind: 'tombstone', service: web.service, deletedAt: 7 };

test('records: each kind comes back as it was', () => {
  for (const record of [web, tombstone, gatewayOf('gw-0'), link]) {
    assert.deepEqual(decodeRecord(recordKeyOf(record), encodeRecord(record)), { ok: true, record });
  }
});

test('encodeRecord: golden bytes of version 1', () => {
  assert.equal(
    Buffer.from(encodeRecord(exportOf('shop/web'))).toString(),
    '{"allow":"members","createdAt":1700000000000,"endpoints":{"ready":1,"total":1},"kind":"export",' +
      '"ports":[{"name":"http","port":80,"protocol":"TCP"}],"service":"shop/web","type":"ClusterSetIP","v":1}',
  );
});

test('encodeRecord: equal records are equal bytes, however they were built', () => {
  const { kind, service, ...rest } = web;
  const rebuilt = { ...rest, labels: { app: 'web', tier: 'gold' }, service, kind } as ClusterRecord;
  assert.deepEqual(encodeRecord(rebuilt), encodeRecord(web));
});

test('records: members of a newer version survive decoding and encoding', () => {
  const text = Buffer.from(encodeRecord(web))
    .toString()
    .replace('"kind"', '"futureField":{"deep":[1,{"z":1,"a":2}]},"kind"');
  const decoded = decodeRecord('export/shop/web', Buffer.from(text));
  assert.ok(decoded.ok);
  assert.match(Buffer.from(encodeRecord(decoded.record)).toString(), /"futureField":\{"deep":\[1,\{"a":2,"z":1\}\]\}/);
});

test('encodeRecord: refuses what readers would refuse', () => {
  const labels = { big: 'x'.repeat(maxRecordBytes) };
  assert.throws(() => encodeRecord(exportOf('shop/web', { labels })), { code: 'invalid' });
});

test('decodeRecord: says which rule was broken', () => {
  const change = (from: string, to: string): Buffer =>
    Buffer.from(Buffer.from(encodeRecord(web)).toString().replace(from, to));
  const cases: [string, Uint8Array, RegExp][] = [
    ['export/shop/web', Buffer.alloc(maxRecordBytes + 1, 0x20), /over the limit/],
    ['export/shop/web', Buffer.from([0xff]), /valid|utf-8/i],
    ['export/shop/web', Buffer.from('{'), /JSON/],
    ['export/shop/web', Buffer.from('[]'), /record|expected/],
    ['export/shop/web', change('"v":1', '"v":2'), /version 2 is not known/],
    ['export/shop/web', change('"v":1', '"v":0'), /^at v: /],
    ['export/shop/web', change('"port":80', '"port":0'), /^at ports\.0\.port: /],
    ['export/shop/web', change('"port":80', '"port":80.5'), /^at ports\.0\.port: /],
    ['export/shop/web', change('"ready":1', '"ready":2'), /^at endpoints: .* must not be more/],
    ['export/shop/web', change('TCP', 'UDP'), /^at ports\.0\.protocol: /],
    ['export/shop/web', change('"service":"shop/web"', '"service":"Shop"'), /service|namespace/],
    ['export/shop/web', change('"kind":"export"', '"kind":"other"'), /kind 'other' .* not known/],
    ['export/shop/other', encodeRecord(web), /belongs under 'export\/shop\/web'/],
    ['gateway/x', encodeRecord(web), /belongs under/],
    ['k'.repeat(300), encodeRecord(web), /key of 300/],
  ];
  for (const [key, bytes, expected] of cases) {
    const decoded = decodeRecord(key, bytes);
    assert.ok(!decoded.ok, key);
    assert.match(decoded.detail, expected);
  }
});

test('decodeRecord: never throws and never lets a broken invariant through, whatever the bytes', () => {
  const good = Buffer.from(encodeRecord(web));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.equal(decodeRecord('export/shop/web', bytes).ok, false);
    }),
  );
  fc.assert(
    fc.property(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 }), (at, value) => {
      const bytes = Buffer.from(good);
      bytes[at] = value;
      const decoded = decodeRecord('export/shop/web', bytes);
      if (!decoded.ok || decoded.record.kind !== 'export') return;
      assert.equal(decoded.record.service, 'shop/web');
      assert.ok(decoded.record.endpoints.ready <= decoded.record.endpoints.total);
    }),
  );
  fc.assert(
    fc.property(fc.json(), (text) => {
      decodeRecord('export/shop/web', Buffer.from(text));
    }),
  );
  assert.equal(decodeRecord('export/shop/web', Buffer.from('['.repeat(60_000))).ok, false);
});

test('decodeRecord: a member called __proto__ changes no prototype', () => {
  const text = Buffer.from(encodeRecord(web)).toString().replace('"kind"', '"__proto__":{"polluted":true},"kind"');
  decodeRecord('export/shop/web', Buffer.from(text));
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
});
