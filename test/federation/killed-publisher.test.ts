import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { openRedisHub } from '../../src/federation/io/redis-hub/open-redis-hub.ts';
import type { PartitionView } from '../../src/federation/partition-view.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { simVerifier } from '../simulation/support/sim-seals.ts';
import { startRedis } from '../support/redis.ts';
import { east, eventually, quietLog, west } from './support/federation.ts';
import { Site } from './support/site.ts';

type Partitions = ReadonlyMap<string, PartitionView>;

const program = new URL('support/publisher-process.ts', import.meta.url).pathname;
const names = ['shop/web', 'shop/db'];

function exportsOf(partitions: Partitions): string[] {
  const records = [...(partitions.get(east)?.records.values() ?? [])];
  return records.flatMap((record) => (record.kind === 'export' ? [record.service] : [])).toSorted();
}

function readyAt(partitions: Partitions): number | undefined {
  const record = partitions.get(east)?.records.get('export/shop/web');
  return record?.kind === 'export' ? record.endpoints.ready : undefined;
}

test('an agent killed at every step of a publish: readers lose nothing, and its successor goes on', async (t) => {
  const redis = await startRedis();
  const site = await Site.on(openRedisHub({ url: redis.url, clock: systemClock, log: quietLog() }));
  const children = new Set<ChildProcess>();
  try {
    const stateDir = await site.dir('killed');
    const run = async (step: number, ready: number): Promise<boolean> => {
      const child = spawn(process.execPath, [program, redis.url, stateDir, `${step}`, `${ready}`, ...names], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      children.add(child);
      const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
      children.delete(child);
      assert.ok(code === 0 || signal === 'SIGKILL', `step ${step} ended with ${code ?? signal}`);
      return signal === 'SIGKILL';
    };
    const reader = await site.reader(west, { verifier: simVerifier() });
    assert.equal(await run(0, 1), false);
    await eventually(reader.partitions, (p) => readyAt(p) === 1);
    const wrong: string[] = [];
    let newest = 1;
    reader.partitions.subscribe((p) => {
      const [services, ready = -1] = [exportsOf(p), readyAt(p)];
      if (services.length !== names.length || ready < newest)
        wrong.push(`${services.join()} at ${ready} after ${newest}`);
      newest = Math.max(newest, ready);
    });
    let step = 1;
    while (await run(step, step + 1)) step += 1;
    assert.ok(step > 10, `only ${step - 1} steps`);
    t.diagnostic(`killed at ${step - 1} steps`);
    await eventually(reader.partitions, (p) => readyAt(p) === step + 1);
    assert.deepEqual(wrong, []);
    assert.deepEqual(reader.refusals(), []);
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await site[Symbol.asyncDispose]();
    await redis.stop();
  }
});
