import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createEmbeddedHub } from '../../src/federation/io/embedded-hub.ts';
import { startRosterReader } from '../../src/federation/io/roster-reader.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import type { Refusal } from '../../src/federation/refusal.ts';
import type { Hub } from '../../src/model/ports/hub.ts';
import type { Sealer } from '../../src/model/ports/seal.ts';
import { quietLog } from './support/federation.ts';
import { TestSeals } from './support/seals.ts';

const limits = { timeout: 60_000 };

interface Stage extends AsyncDisposable {
  readonly hub: Hub;
  readonly sealer: Sealer;
  /** What was passed on, each as `<hex of the roster> <chain>`. */
  readonly found: string[];
  readonly refused: Refusal[];
  write(head: Uint8Array, hint: string): Promise<void>;
  start(pollMs: number): void;
}

function stage(): Stage {
  const hub = createEmbeddedHub();
  const sealer = new TestSeals().sealer('authority');
  const found: string[] = [];
  const refused: Refusal[] = [];
  let reader: { close(): Promise<void> } | undefined;
  let expectedHead: Uint8Array | undefined;
  return {
    hub,
    sealer,
    found,
    refused,
    async write(head, hint) {
      await hub.commit('authority', { expectedHead, head, records: new Map(), snapshot: true, delta: undefined, hint });
      expectedHead = head;
    },
    start(pollMs) {
      reader = startRosterReader({
        hub,
        onRoster: (sealed, chain) => found.push(lineOf(sealed, chain)),
        onRefusal: (refusal) => refused.push(refusal),
        clock: systemClock,
        log: quietLog(),
        pollMs,
      });
    },
    async [Symbol.asyncDispose]() {
      await reader?.close();
      await hub.close();
    },
  };
}

function lineOf(sealed: Uint8Array, chain: Uint8Array): string {
  return `${Buffer.from(sealed).toString('hex')} ${Buffer.from(chain).toString()}`;
}

async function until(happens: () => boolean): Promise<void> {
  for (let turn = 0; turn < 2000 && !happens(); turn += 1) await delay(10);
  assert.ok(happens());
}

test(
  'startRosterReader: finds by polling what came without a hint, or before its chain; each once',
  limits,
  async () => {
    await using on = stage();
    const { hub, sealer, found, refused } = on;
    await on.write(Buffer.from('garbage'), 'authority 0 0');
    on.start(20);
    await until(() => refused.length === 1);
    assert.deepEqual(refused, [
      { reason: 'malformed', key: 'head', rule: 'Sealed bytes do not decode: 7 bytes are too few' },
    ]);
    const roster = sealer.seal('roster', Buffer.from('1'));
    await on.write(roster, 'not a hint');
    await until(() => refused.length === 2);
    assert.deepEqual([refused[1]?.reason, refused[1]?.key, found], ['unknown-chain', 'head', []]);
    await hub.writeChain('authority', sealer.chainId, sealer.chain);
    await until(() => found.length === 1);
    await delay(100);
    assert.deepEqual([found, refused.length], [[lineOf(roster, sealer.chain)], 2], 'said and passed on once');
  },
);

test('startRosterReader: looks at once when a hint says so', limits, async () => {
  await using on = stage();
  const { hub, sealer, found } = on;
  await hub.writeChain('authority', sealer.chainId, sealer.chain);
  on.start(3_600_000);
  for (const sequence of [1, 2, 3]) {
    await on.write(sealer.seal('roster', Buffer.from(`${sequence}`)), `authority 0 ${sequence}`);
    await until(() => found.length === sequence);
  }
});
