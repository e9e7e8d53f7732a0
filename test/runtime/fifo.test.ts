import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Fifo } from '../../src/runtime/fifo.ts';

describe('Fifo', () => {
  it('gives what an array would, whatever is put in and taken out', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 200 }), (steps) => {
        const fifo = new Fifo<number>();
        const model: number[] = [];
        for (const [index, put] of steps.entries()) {
          if (put) {
            fifo.push(index);
            model.push(index);
          } else assert.equal(fifo.shift(), model.shift());
          assert.equal(fifo.size, model.length);
        }
        while (model.length > 0) assert.equal(fifo.shift(), model.shift());
        assert.equal(fifo.shift(), undefined);
      }),
    );
  });
});
