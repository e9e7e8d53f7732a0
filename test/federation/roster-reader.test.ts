import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createEmbeddedHub } from '../../src/federation/io/embedded-hub.ts';
import { startRosterReader } from '../../src/federation/io/roster-reader.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { quietLog } from './support/federation.ts';
import { TestSeals } from './support/seals.ts';

test('startRosterReader: passes on each roster once, by hint or by polling, with its chain', async () => {
  const hub = createEmbeddedHub();
  const sealer = new TestSeals().sealer('authority');
  const found: string[] = [];
  let expectedHead: Uint8Array | undefined;
  const write = async (head: Uint8Array, hint: string): Promise<void> => {
    await hub.commit('authority', { expectedHead, head, records: new Map(), snapshot: true, delta: undefined, hint });
    expectedHead = head;
  };
  const until = async (count: number): Promise<void> => {
    for (let turn = 0; turn < 300 && found.length < count; turn += 1) await delay(10);
  };
  const first = sealer.seal('roster', Buffer.from('1'));
  await write(Buffer.from('garbage'), 'authority 0 0');
  const reader = startRosterReader({
    hub,
    onRoster: (sealed, chain) => found.push(`${Buffer.from(sealed).toString('hex')} ${Buffer.from(chain).toString()}`),
    clock: systemClock,
    log: quietLog(),
    pollMs: 100,
  });
  try {
    await delay(20);
    // Without its chain it is of no use yet; polling finds it once the chain is there.
    await write(first, 'authority 0 1');
    await delay(20);
    assert.deepEqual(found, []);
    await hub.writeChain('authority', sealer.chainId, sealer.chain);
    await until(1);
    const second = sealer.seal('roster', Buffer.from('2'));
    const from = performance.now();
    await write(second, 'authority 0 2');
    await until(2);
    assert.ok(performance.now() - from < 60, 'the hint is followed at once');
    await delay(250);
    const chain = Buffer.from(sealer.chain).toString();
    assert.deepEqual(
      found,
      [first, second].map((sealed) => `${Buffer.from(sealed).toString('hex')} ${chain}`),
    );
  } finally {
    await reader.close();
    await hub.close();
  }
});
