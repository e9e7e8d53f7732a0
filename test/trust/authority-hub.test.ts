import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsthmusError } from '../../src/model/error.ts';
import type { Hub } from '../../src/model/ports/hub.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { Watchable } from '../../src/runtime/watchable.ts';
import { publishToHub } from '../../src/trust/io/authority-hub.ts';
import type { SealedBundles } from '../../src/trust/bundle/bundle-sealer.ts';
import type { SealedRoster } from '../../src/trust/authority/roster-sealer.ts';
import { chainIdOf } from '../../src/wire/seal.ts';
import { eventually, silent } from './support/environment.ts';

test('roster and bundles reach a hub that was away, and each new one at once', async (t) => {
  const chain = Buffer.from('chain');
  const roster = new Watchable<SealedRoster | undefined>({ sealed: Buffer.from('one'), chain, sequence: 7 });
  const stored: {
    head?: Uint8Array;
    hint?: string;
    chains: Set<string>;
    records: ReadonlyMap<string, Uint8Array>;
  } = { chains: new Set(), records: new Map() };
  const bundles = new Watchable<SealedBundles | undefined>(undefined);
  let away = true;
  const hub: Pick<Hub, 'name' | 'readSnapshot' | 'readChain' | 'writeChain' | 'commit'> = {
    name: 'test',
    async readSnapshot() {
      if (away) throw new IsthmusError('unavailable', 'hub is away');
      return { head: stored.head, records: stored.records, lastId: undefined };
    },
    async readChain(_partition, id) {
      return stored.chains.has(id) ? chain : undefined;
    },
    async writeChain(_partition, id) {
      stored.chains.add(id);
    },
    async commit(_partition, { expectedHead, head, hint, records }) {
      assert.ok(stored.chains.has(chainIdOf(chain)), 'the chain is there before its head');
      if (expectedHead !== stored.head) return { ok: false, head: stored.head };
      stored.head = head;
      stored.hint = hint;
      stored.records = records as ReadonlyMap<string, Uint8Array>;
      return { ok: true };
    },
  };
  const publisher = publishToHub({
    hub: hub as Hub,
    sealedRoster: roster,
    sealedBundles: bundles,
    clock: systemClock,
    log: silent,
  });
  t.after(() => publisher.close());
  await eventually('it says so', () => publisher.standing().problem === 'hub is away');
  away = false;
  await eventually('published', () => publisher.standing().problem === undefined);
  assert.equal(Buffer.from(stored.head ?? []).toString(), 'one');
  assert.equal(stored.hint, 'authority 0 7');
  stored.head = Buffer.from('of somebody else');
  roster.set({ sealed: Buffer.from('two'), chain, sequence: 8 });
  await eventually('replaced', () => Buffer.from(stored.head ?? []).toString() === 'two');
  assert.equal(stored.records.size, 0);
  bundles.set({ sealed: Buffer.from('map'), chain });
  await eventually('bundles too', () => Buffer.from(stored.records.get('bundles') ?? []).toString() === 'map');
  // As after a flush between the chain and the head: newcomers could verify nothing.
  stored.chains.clear();
  roster.set({ sealed: Buffer.from('two'), chain, sequence: 8 });
  await eventually('the chain is there again', () => stored.chains.has(chainIdOf(chain)));
});
