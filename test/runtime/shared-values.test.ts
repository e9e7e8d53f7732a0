import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedValues } from '../../src/runtime/shared-values.ts';

test('SharedValues: equal values are one, different ones are not', () => {
  const values = new SharedValues(8);
  const first = { app: 'web', ports: [80] };
  assert.equal(values.of(first), first);
  assert.equal(values.of({ app: 'web', ports: [80] }), first);
  const others = [{ app: 'web' }, { app: 'web', ports: ['80'] }, { ports: [80], app: 'web' }, [80], '80', 80, null];
  for (const other of others) assert.equal(values.of(other), other);
});

test('SharedValues: what is asked for stays known, whatever passes by; what is not is forgotten', () => {
  const values = new SharedValues(8);
  const kept = values.of({ kept: true });
  const forgotten = values.of({ forgotten: true });
  for (let n = 0; n < 100; n += 1) {
    values.of({ n });
    assert.equal(values.of({ kept: true }), kept);
  }
  assert.notEqual(values.of({ forgotten: true }), forgotten);
});

test('SharedValues: a long value is passed on as it is', () => {
  const values = new SharedValues(8);
  const long = (): object => ({ text: 'x'.repeat(600) });
  const first = long();
  assert.equal(values.of(first), first);
  assert.notEqual(values.of(long()), first);
});
