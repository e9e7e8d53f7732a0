import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FieldKind, FieldLines } from '../../../src/gateway/http/h1/fields.ts';

/** A hang fails soon, and says where. */
const each = { timeout: 60_000 } as const;

/** So many fields, `Host` the last of them, and the empty line. */
function lines(count: number): Buffer {
  const others = Array.from({ length: count - 1 }, (_, index) => `X-${index}:  value ${index} \r\n`).join('');
  return Buffer.from(`${others}Host: shop\r\n\r\n`, 'latin1');
}

function read(fields: FieldLines, bytes: Buffer): [string, string][] {
  assert.equal(fields.scan(bytes, 0, bytes.length), undefined);
  return Array.from({ length: fields.count }, (_, index) => [fields.name(index), fields.value(index)]);
}

describe('FieldLines', () => {
  it('reads as many as it may, whatever it has room for at first', each, () => {
    for (const max of [1, 5, 16, 17, 33, 100]) {
      const fields = new FieldLines(max);
      const expected = Array.from({ length: max - 1 }, (_, index) => [`x-${index}`, `value ${index}`]);
      assert.deepEqual(read(fields, lines(max)), [...expected, ['host', 'shop']]);
      assert.equal(fields.kind(max - 1), FieldKind.host);
      for (let index = 0; index < max - 1; index += 1) assert.equal(fields.kind(index), FieldKind.other);
      const tooMany = lines(max + 1);
      assert.equal(fields.scan(tooMany, 0, tooMany.length), 'There are too many header fields');
      assert.deepEqual(read(fields, lines(1)), [['host', 'shop']], 'nothing is left of a larger one');
    }
  });
});
