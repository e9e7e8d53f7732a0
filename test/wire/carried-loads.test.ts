import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IsthmusError } from '../../src/model/error.ts';
import { parseServiceKey } from '../../src/model/names.ts';
import { decodeCarriedLoads, encodeCarriedLoads } from '../../src/wire/carried-loads.ts';

test('loads come back as they were', () => {
  const loads = new Map([
    [parseServiceKey('shop/web'), 12],
    [parseServiceKey('shop/cart'), 0],
  ]);
  assert.deepEqual(decodeCarriedLoads(encodeCarriedLoads(loads)), loads);
  assert.deepEqual(decodeCarriedLoads(encodeCarriedLoads(new Map())), new Map());
});

test('loads: bytes that are none are corrupt, and nothing else', () => {
  for (const text of ['', '[]', '{"shop/web":-1}', '{"shop/web":"1"}', '{"no service":1}', '{"shop/web":1.5}']) {
    assert.throws(() => decodeCarriedLoads(Buffer.from(text)), { code: 'corrupt' }, text);
  }
  assert.throws(() => decodeCarriedLoads(new Uint8Array((1 << 22) + 1)), /over the limit/);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        decodeCarriedLoads(bytes);
      } catch (thrown) {
        assert.ok(thrown instanceof IsthmusError && thrown.code === 'corrupt');
      }
    }),
  );
});
