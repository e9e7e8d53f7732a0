import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { isPresent, Watchable, waitFor } from '../../src/runtime/watchable.ts';

suite('Watchable', () => {
  test('tells each listener of a change, not of the same value', () => {
    const value = new Watchable(1);
    const seen: number[] = [];
    value.subscribe((v) => seen.push(v));
    value.set(1);
    value.set(2);
    assert.deepEqual([seen, value.current], [[2], 2]);
  });

  test('a listener that ended is told nothing, even during a change', () => {
    const value = new Watchable(0);
    const seen: string[] = [];
    value.subscribe(() => endSecond());
    const endSecond = value.subscribe(() => seen.push('second'));
    value.set(1);
    assert.deepEqual(seen, []);
  });

  test('one function subscribed twice is two subscriptions', () => {
    const value = new Watchable(0);
    let calls = 0;
    const listener = (): void => void (calls += 1);
    const end = value.subscribe(listener);
    value.subscribe(listener);
    end();
    value.set(1);
    assert.equal(calls, 1);
  });
});

suite('waitFor', () => {
  test('resolves with the present value at once', async () => {
    assert.equal(await waitFor(new Watchable<number | undefined>(3), isPresent), 3);
  });

  test('resolves with a future value and ends its subscription', async () => {
    const value = new Watchable<number | undefined>(undefined);
    const waiting = waitFor(value, isPresent);
    value.set(7);
    value.set(8);
    assert.equal(await waiting, 7);
  });

  test('rejects with the reason of the signal', async () => {
    const controller = new AbortController();
    const waiting = waitFor(new Watchable<number | undefined>(undefined), isPresent, controller.signal);
    controller.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
    await assert.rejects(waitFor(new Watchable<number | undefined>(undefined), isPresent, controller.signal), /enough/);
  });
});
