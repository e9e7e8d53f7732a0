import { openRedisHub } from '../src/federation/io/redis-hub/open-redis-hub.ts';
import { systemClock } from '../src/runtime/io/clock.ts';
import { sleep } from '../src/runtime/sleep.ts';
import { east, eventually, exportOf, keyed, quietLog, west } from '../test/federation/support/federation.ts';
import { Site } from '../test/federation/support/site.ts';
import { startRedis } from '../test/support/redis.ts';
import { simulate } from '../test/simulation/support/simulate.ts';
import type { Proof } from './prove.ts';

// ISTHMUS_ROUNDS=5000 ISTHMUS_SEED=1 npm run prove -- federation   the same storms each time

function whole(variable: string, otherwise: number): number {
  const value = Number(process.env[variable] ?? otherwise);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`${variable} must be a positive integer: current value is '${process.env[variable]}'`);
}

/** Simulated federations in a storm, one seed after the other; fails with the seed of the first that breaks. */
async function storms(): Promise<object> {
  const rounds = whole('ISTHMUS_ROUNDS', 500);
  const seed = whole('ISTHMUS_SEED', Math.floor(Date.now() / 1000));
  let events = 0;
  let simulatedMs = 0;
  for (let next = seed; next < seed + rounds; next += 1) {
    const result = await simulate(next);
    events += result.events.length;
    simulatedMs += result.simulatedMs;
  }
  return { seed, rounds, events, simulatedDays: Math.round(simulatedMs / 86_400_000) };
}

/** Longer than a lease lives, and than anybody waits for an answer. */
const pausedMs = 60_000;

/** A Redis that hangs for a minute: nothing is lost and nobody is dead; then changes flow again by themselves. */
async function pause(): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const redis = await startRedis();
  stack.defer(() => redis.stop());
  const site = stack.use(await Site.on(openRedisHub({ url: redis.url, clock: systemClock, log: quietLog() })));
  const reader = await site.reader(west);
  const publisher = await site.publisher(east);
  publisher.publish(keyed(exportOf('shop/web')), { synced: true });
  const web = 'export/shop/web';
  await eventually(
    reader.partitions,
    (p) => p.get(east)?.freshness === 'live' && p.get(east)?.records.has(web) === true,
  );
  let lost = 0;
  const end = reader.partitions.subscribe((p) => {
    const seen = p.get(east);
    if (seen?.freshness === 'dead' || !seen?.records.has(web)) lost += 1;
  });
  redis.pause();
  await eventually(reader.hubStatus, ({ connected }) => !connected, 10_000);
  publisher.publish(keyed(exportOf('shop/web'), exportOf('shop/db')), { synced: true });
  await sleep(systemClock, pausedMs);
  const resumed = performance.now();
  redis.resume();
  await eventually(reader.partitions, (p) => p.get(east)?.records.has('export/shop/db') === true, 20_000);
  const backMs = Math.round(performance.now() - resumed);
  await eventually(reader.partitions, (p) => p.get(east)?.freshness === 'live', 20_000);
  end();
  if (lost > 0) throw new Error(`the reader lost the service or called its cluster dead ${lost} times`);
  return { pausedMs, backMs };
}

export const proofs: Readonly<Record<string, Proof>> = { storms, pause };
