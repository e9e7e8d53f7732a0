import { IsthmusError, messageOf } from '../../model/error.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import { authorityPartition as partition, type Hub } from '../../model/ports/hub.ts';
import type { Log } from '../../model/ports/log.ts';
import { bundlesRecordKey } from '../../wire/bundle.ts';
import { decodeSeal } from '../../wire/seal.ts';
import { anythingHint, parseHint } from '../hint.ts';
import type { Refusal } from '../refusal.ts';

export interface RosterReaderOptions {
  readonly hub: Hub;
  /** Takes the sealed roster with the PEM chain of its signer, as found: both are for the receiver to verify. */
  readonly onRoster: (sealed: Uint8Array, chain: Uint8Array) => void;
  /**
   * Takes the sealed bundle map with the PEM chain of its signer, after each new roster. False: it was not taken, so
   * that it is worth to look again before the roster changes.
   */
  readonly onBundles?: (sealed: Uint8Array, chain: Uint8Array) => boolean;
  /** Called once for each thing that cannot even be offered. */
  readonly onRefusal?: (refusal: Refusal) => void;
  readonly clock: Clock;
  readonly log: Log;
  /** Mean time between two looks, in ms. Default 5000, jittered by a quarter. */
  readonly pollMs?: number;
}

/** Passes on each roster that turns up in the hub, once, and the bundles with it. The result ends it. */
export function startRosterReader(options: RosterReaderOptions): { close(): Promise<void> } {
  const { hub, onRoster, clock, log, pollMs = 5000 } = options;
  let seen: Uint8Array | undefined;
  let bundlesTaken = false;
  /** What was refused last, so that it is said once. */
  let refused = '';
  let timer: Timer | undefined;
  let looking: Promise<void> | undefined;
  let again = false;
  let closed = false;

  async function look(): Promise<void> {
    const [sealed] = await hub.readHeads([partition]);
    if (!sealed) return;
    const isNew = !seen || Buffer.compare(sealed, seen) !== 0;
    if (isNew) {
      const chain = await chainOf('head', sealed);
      if (!chain || closed) return;
      seen = sealed;
      onRoster(sealed, chain);
    }
    if (options.onBundles && (isNew || !bundlesTaken)) bundlesTaken = await lookForBundles(options.onBundles);
  }

  async function lookForBundles(take: NonNullable<RosterReaderOptions['onBundles']>): Promise<boolean> {
    const { records } = await hub.readSnapshot(partition);
    const sealed = records.get(bundlesRecordKey);
    const chain = sealed && (await chainOf(bundlesRecordKey, sealed));
    return sealed !== undefined && chain !== undefined && !closed && take(sealed, chain);
  }

  async function chainOf(key: string, sealed: Uint8Array): Promise<Uint8Array | undefined> {
    let chainId: string;
    try {
      ({ chainId } = decodeSeal(sealed));
    } catch (thrown) {
      refuse({ reason: 'malformed', key, rule: messageOf(thrown) });
      return undefined;
    }
    const chain = await hub.readChain(partition, chainId);
    if (!chain)
      refuse({ reason: 'unknown-chain', key, rule: `the hub does not have the chain ${chainId} of its signer` });
    return chain;
  }

  function refuse(refusal: Refusal): void {
    const text = JSON.stringify(refusal);
    if (text !== refused && !closed) options.onRefusal?.(refusal);
    refused = text;
  }

  async function lookWhileAsked(): Promise<void> {
    while (again && !closed) {
      again = false;
      timer?.cancel();
      try {
        await look();
      } catch (thrown) {
        if (thrown instanceof IsthmusError && thrown.code === 'corrupt')
          refuse({ reason: 'too-large', key: 'records', rule: thrown.message });
        // The reader of partitions says when the hub is away; here it only delays.
        log.debug({ hub: hub.name, reason: messageOf(thrown) }, 'no roster from the hub');
      }
    }
    looking = undefined;
    if (!closed) timer = clock.schedule(pollMs * (0.75 + 0.5 * clock.random()), ask);
  }

  function ask(): void {
    if (closed) return;
    again = true;
    looking ??= lookWhileAsked();
  }

  const end = hub.subscribe((text) => {
    if (text === anythingHint || parseHint(text)?.partition === partition) ask();
  });
  ask();
  return {
    async close(): Promise<void> {
      closed = true;
      end();
      timer?.cancel();
      await looking;
    },
  };
}
