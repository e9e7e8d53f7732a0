import type { Partition } from '../model/ports/hub.ts';
import type { LogRefusal } from './log/partition-state.ts';

/** Why something in the hub was not believed. */
export type ReadRefusal =
  | LogRefusal
  | 'malformed'
  | 'bad-signature'
  | 'foreign-signer'
  | 'distrusted'
  | 'unknown-chain'
  /** Signed by a certificate that has run out, and newer than what is held. */
  | 'expired-signer'
  /** The hub will not transfer it. */
  | 'too-large';

/**
 * What happened to a partition that somebody may want to know of.
 * - `held-back`, `accepted`: a burst of deletions waits for somebody's word, or got it
 * - `repaired`: the hub had lost or changed the own partition, and it was written again
 * - `superseded`: a newer writer of the own partition was seen
 * - `silence`: most leases stopped moving together, which is the hub's doing and changes nothing
 * - `left`: the cluster said good-bye
 * - `not-exportable`, `age-corrected`: an export that is not taken as it stands
 */
export type EventKind =
  | ReadRefusal
  | 'held-back'
  | 'accepted'
  | 'repaired'
  | 'superseded'
  | 'silence'
  | 'left'
  | 'not-exportable'
  | 'age-corrected';

export interface FederationEvent {
  /** The partition that it is about; `authority` for roster and bundles. */
  readonly cluster: Partition;
  readonly kind: EventKind;
  readonly detail: string;
  /** How often the very same happened. */
  readonly count: number;
  /** Wall clock in ms of the first and the last of them. */
  readonly firstAt: number;
  readonly at: number;
}

/** Remembered events; the oldest go first. */
const maxEvents = 256;
/** A detail may quote what strangers wrote. */
const maxDetailLength = 500;

/** The last events, bounded, repetitions counted instead of listed. */
export class EventList {
  readonly #events = new Map<string, FederationEvent>();

  /** `now`: wall clock in ms. */
  add(event: Pick<FederationEvent, 'cluster' | 'kind' | 'detail'>, now: number): void {
    const { cluster, kind } = event;
    const detail = event.detail.slice(0, maxDetailLength);
    const key = `${cluster} ${kind} ${detail}`;
    const before = this.#events.get(key);
    this.#events.delete(key);
    const { count = 0, firstAt = now } = before ?? {};
    this.#events.set(key, { cluster, kind, detail, count: count + 1, firstAt, at: now });
    for (const oldest of this.#events.keys()) {
      if (this.#events.size <= maxEvents) break;
      this.#events.delete(oldest);
    }
  }

  /** In the order in which they last happened. */
  list(): readonly FederationEvent[] {
    return [...this.#events.values()];
  }
}
