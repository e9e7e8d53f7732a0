import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeDelta,
  decodeHead,
  decodeLease,
  encodeDelta,
  encodeHead,
  encodeLease,
  maxDeltaBytes,
  maxDeltaOps,
  type PartitionDelta,
  type PartitionHead,
  type PartitionLease,
} from '../../src/wire/partition.ts';

const digest = 'ab'.repeat(32);
const head: PartitionHead = {
  cluster: 'east',
  epoch: 1_700_000_000_000,
  revision: 7,
  count: 3,
  digest,
  schema: 1,
  writtenAt: 9,
};
const lease: PartitionLease = { cluster: 'east', epoch: 2, sequence: 3, at: 4 };
const delta: PartitionDelta = {
  cluster: 'east',
  epoch: 1,
  previous: 6,
  revision: 7,
  ops: new Map([
    ['export/shop/web', Buffer.from('{"é":"\\u0000"}')],
    ['gateway/gw-0', undefined],
  ]),
  digest,
};

test('head, delta and lease come back as they were, to the byte', () => {
  assert.deepEqual(decodeHead(encodeHead(head)), head);
  assert.deepEqual(decodeLease(encodeLease(lease)), lease);
  assert.deepEqual(decodeDelta(encodeDelta(delta)), delta);
});

test('golden bytes of version 1', () => {
  assert.equal(Buffer.from(encodeLease(lease)).toString(), '{"at":4,"cluster":"east","epoch":2,"sequence":3,"v":1}');
  assert.equal(
    Buffer.from(encodeHead({ ...head, epoch: 1 })).toString(),
    `{"cluster":"east","count":3,"digest":"${digest}","epoch":1,"revision":7,"schema":1,"v":1,"writtenAt":9}`,
  );
  assert.equal(
    Buffer.from(
      encodeDelta({
        ...delta,
        ops: new Map([
          ['a', Buffer.from('1')],
          ['b', undefined],
        ]),
      }),
    ).toString(),
    `{"cluster":"east","digest":"${digest}","epoch":1,"ops":[["a","1"],["b",null]],"previous":6,"revision":7,"v":1}`,
  );
});

test('what cannot be is refused with the place where', () => {
  const change = (bytes: Uint8Array, from: string, to: string): Buffer =>
    Buffer.from(Buffer.from(bytes).toString().replace(from, to));
  const cases: [() => unknown, RegExp][] = [
    [() => decodeHead(change(encodeHead(head), '"v":1', '"v":2')), /at v: .*expected 1/],
    [() => decodeHead(change(encodeHead(head), '"revision":7', '"revision":-7')), /at revision: .*>=0/],
    [() => decodeHead(change(encodeHead(head), '1700000000000', '9007199254740993')), /at epoch: .*int/i],
    [() => decodeHead(change(encodeHead(head), digest, 'AB'.repeat(32))), /at digest: .*pattern/],
    [() => decodeHead(Buffer.alloc(5000, 0x20)), /over the limit of 4096/],
    [() => decodeDelta(change(encodeDelta(delta), 'null', '1')), /at ops\.\d\.1: /],
    [() => decodeDelta(Buffer.alloc(maxDeltaBytes + 1, 0x20)), /over the limit/],
    [() => decodeLease(change(encodeLease(lease), '"east"', '""')), /at cluster: .*>=1/],
    [() => decodeLease(Buffer.from([0xff])), /does not decode/],
  ];
  for (const [decode, message] of cases) assert.throws(decode, { code: 'corrupt', message });
  const many = new Map(Array.from({ length: maxDeltaOps + 1 }, (_, index) => [`k${index}`, undefined] as const));
  assert.throws(() => decodeDelta(encodeDelta({ ...delta, ops: many })), { code: 'corrupt' });
});

test('a member of a newer version is no hindrance', () => {
  const text = Buffer.from(encodeLease(lease)).toString().replace('{', '{"zone":"a",');
  assert.deepEqual(decodeLease(Buffer.from(text)), lease);
});

test('any bytes: decoded, or corrupt', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 100 }),
        fc.json().map((text) => Buffer.from(text)),
      ),
      (bytes) => {
        for (const decode of [decodeHead, decodeDelta, decodeLease])
          assert.throws(() => decode(bytes), { code: 'corrupt' });
      },
    ),
  );
});
