import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SyncQueue } from '../../src/federation/io/sync-queue.ts';
import { createEmbeddedHub } from '../../src/federation/io/embedded-hub.ts';
import type { Clock, Timer } from '../../src/model/ports/clock.ts';
import type { Hub } from '../../src/model/ports/hub.ts';
import { IsthmusError } from '../../src/model/error.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { eventually, west } from './support/federation.ts';
import { Site } from './support/site.ts';

test('SyncQueue: never more at once than it may, no key twice at once, a key that waits waits once', async () => {
  const running = new Set<number>();
  const runs = new Map<number, number>();
  let most = 0;
  const release: (() => void)[] = [];
  const queue = new SyncQueue<number>(async (key) => {
    assert.ok(!running.has(key));
    running.add(key);
    runs.set(key, (runs.get(key) ?? 0) + 1);
    most = Math.max(most, running.size);
    await new Promise<void>((resolve) => release.push(resolve));
    running.delete(key);
  }, 8);
  for (let turn = 0; turn < 3; turn += 1) for (let key = 0; key < 100; key += 1) queue.add(key);
  while (release.length > 0) {
    release.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await queue.close();
  assert.equal(most, 8);
  assert.equal(runs.size, 100);
  // The first eight were under way when they were asked for again.
  const again = [...runs].filter(([, count]) => count === 2).map(([key]) => key);
  assert.deepEqual(again, [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.ok([...runs.values()].every((count) => count <= 2));
});

test('a hub that is back is asked for everything after a time drawn at random, so that not all agents come at once', async () => {
  for (const [draw, expectedMs] of [
    [0.2, 100],
    [0.9, 450],
  ] as const) {
    const delays: number[] = [];
    const clock: Clock = {
      now: () => systemClock.now(),
      monotonic: () => systemClock.monotonic(),
      random: () => draw,
      schedule: (delayMs, task): Timer => {
        delays.push(delayMs);
        return systemClock.schedule(delayMs, task);
      },
    };
    const memory = createEmbeddedHub();
    let down = false;
    let hint: ((text: string) => void) | undefined;
    const hub: Hub = new Proxy(memory, {
      get(target, name: keyof Hub) {
        if (name === 'readHeads' && down)
          return async () => Promise.reject(new IsthmusError('unavailable', 'The hub is away'));
        if (name === 'subscribe') return (listener: (text: string) => void) => ((hint = listener), () => undefined);
        const member = target[name];
        return typeof member === 'function' ? member.bind(target) : member;
      },
    });
    await using site = await Site.on(memory);
    const reader = await site.reader(west, { hub, clock, pollMs: 100_000 });
    await eventually(reader.hubStatus, ({ connected }) => connected);
    down = true;
    hint?.('*');
    await eventually(reader.hubStatus, ({ connected }) => !connected);
    down = false;
    // The next poll is the ordinary one, far away: what follows is only the return.
    delays.length = 0;
    hint?.('*');
    assert.deepEqual(delays, [500 * draw]);
    assert.equal(500 * draw, expectedMs);
    await eventually(reader.hubStatus, ({ connected }) => connected);
  }
});
