import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chainIdOf, decodeSeal, encodeSeal, maxSealedBytes, signedBytes } from '../../src/wire/seal.ts';

const envelope = {
  kind: 'delta',
  chainId: chainIdOf(Buffer.from('chain')),
  signature: Buffer.alloc(71, 7),
  payload: Buffer.from('payload'),
} as const;

test('decodeSeal reads what encodeSeal writes', () => {
  const back = decodeSeal(encodeSeal(envelope));
  assert.deepEqual({ ...back, signature: Buffer.from(back.signature), payload: Buffer.from(back.payload) }, envelope);
});

test('signedBytes separates the kinds', () => {
  assert.equal(Buffer.from(signedBytes('head', Buffer.from('x'))).toString('latin1'), 'isthmus/head/v1\0x');
});

test('encodeSeal refuses what readers would refuse', () => {
  assert.throws(() => encodeSeal({ ...envelope, payload: Buffer.alloc(maxSealedBytes) }), { code: 'exhausted' });
  assert.throws(() => encodeSeal({ ...envelope, chainId: 'no' }), { code: 'invalid' });
  assert.throws(() => encodeSeal({ ...envelope, signature: Buffer.alloc(0) }), { code: 'invalid' });
});

test('decodeSeal throws corrupt and nothing else, whatever it gets', () => {
  const good = encodeSeal(envelope);
  for (let length = 0; length < good.length - envelope.payload.length; length += 1) {
    assert.throws(() => decodeSeal(good.subarray(0, length)), { code: 'corrupt' }, `length ${length}`);
  }
  for (const [at, value] of [
    [0, 0],
    [2, 2],
    [3, 0],
    [3, 6],
    [36, 0],
    [36, 255],
  ] as const) {
    const changed = Buffer.from(good);
    changed.writeUInt8(value, at);
    assert.throws(() => decodeSeal(changed), { code: 'corrupt' }, `byte ${at}`);
  }
  assert.throws(() => decodeSeal(Buffer.alloc(maxSealedBytes + 1)), /over the limit/);
});
