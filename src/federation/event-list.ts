import type { Partition } from '../model/ports/hub.ts';
import type { ReadRefusal } from './refusal.ts';

/**
 * What happened to a partition that somebody may want to know of.
 * - `held-back`, `accepted`: a burst of deletions waits for somebody's word, or got it
 * - `repaired`: the hub had lost or changed the own partition, and it was written again
 * - `superseded`: a newer writer of the own partition was seen
 * - `silence`: most leases stopped moving together, which is the hub's doing and changes nothing
 * - `left`: the cluster said good-bye
 * - `not-exportable`, `age-corrected`: an export that is not taken as it stands
 * - `policy-ignored`: its publisher may not say so; `policy-rejected`: it cannot be understood
 * - `drain-refused`: an operator's word that does not count
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
  | 'age-corrected'
  | PolicyEventKind;

/** What may happen to a policy or a drain that a cluster publishes. */
export type PolicyEventKind = 'policy-ignored' | 'policy-rejected' | 'drain-refused';

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

/** Remembered events. */
const maxEvents = 256;
/** A detail may quote what strangers wrote. */
const maxDetailLength = 500;

/**
 * The last events, bounded, repetitions counted instead of listed. When there are too many, the oldest of the partition
 * with the most goes: who makes trouble without end does not hide the trouble of others.
 */
export class EventList {
  /** By partition, then by what happened; in the order in which it last happened. */
  readonly #events = new Map<Partition, Map<string, FederationEvent>>();
  #size = 0;

  /** `now`: wall clock in ms. */
  add(event: Pick<FederationEvent, 'cluster' | 'kind' | 'detail'>, now: number): void {
    const { cluster, kind } = event;
    const detail = event.detail.slice(0, maxDetailLength);
    const key = `${kind} ${detail}`;
    const events = this.#events.get(cluster) ?? new Map<string, FederationEvent>();
    this.#events.set(cluster, events);
    const { count = 0, firstAt = now } = events.get(key) ?? {};
    if (!events.delete(key)) this.#size += 1;
    events.set(key, { cluster, kind, detail, count: count + 1, firstAt, at: now });
    while (this.#size > maxEvents) this.#dropOne();
  }

  /** In the order in which they last happened. */
  list(): readonly FederationEvent[] {
    return [...this.#events.values()].flatMap((events) => [...events.values()]).toSorted((a, b) => a.at - b.at);
  }

  #dropOne(): void {
    const [[cluster, most]] = [...this.#events].toSorted(([, a], [, b]) => b.size - a.size) as [
      [Partition, Map<string, FederationEvent>],
    ];
    for (const oldest of most.keys()) {
      most.delete(oldest);
      break;
    }
    this.#size -= 1;
    if (most.size === 0) this.#events.delete(cluster);
  }
}
