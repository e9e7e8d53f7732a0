import { test } from 'node:test';
import { simulate } from './support/simulate.ts';

/**
 * Three to five clusters over a hub that loses, delays, repeats, reorders, forgets and goes back in time, with agents that
 * crash in the middle of anything: no view ever loses a service that its owner did not delete, none goes back, and once
 * all has healed all views are equal. `npm run prove -- federation` runs many more.
 */
const fixed = [1, 2, 3, 31, 245, 1049];
const fresh = Array.from({ length: 4 }, () => Math.floor(Math.random() * 2 ** 32));

for (const seed of [...fixed, ...fresh]) {
  test(`a federation in a storm, seed ${seed}`, async (t) => {
    const { events, simulatedMs } = await simulate(seed);
    t.diagnostic(`${events.length} events in ${Math.round(simulatedMs / 1000)} simulated seconds`);
  });
}
