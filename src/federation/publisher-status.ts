import type { RecordKey } from '../model/record.ts';
import type { HeldBack } from './log/writer-plan.ts';

export interface PublisherStatus {
  /**
   * - `waiting`: something is needed before the first write: see `waitingFor`
   * - `publishing`: the hub takes what is written
   * - `unreachable`: the hub does not; trying again
   * - `superseded`: a newer writer of this cluster was seen, this one has stopped for good
   * - `closed`
   */
  readonly state: 'waiting' | 'publishing' | 'unreachable' | 'superseded' | 'closed';
  readonly waitingFor?: string;
  /** Wall clock in ms of the last change of `state`. */
  readonly since: number;
  /** 0 before the first write. */
  readonly epoch: number;
  readonly revision: number;
  /** Whether the hub holds everything that was asked for. */
  readonly settled: boolean;
  readonly lastError?: string;
  /** Records that could not be written, and why. */
  readonly refused: ReadonlyMap<RecordKey, string>;
  /** Exports that stay, because they would go in a burst that nobody declared. */
  readonly heldBack: HeldBack;
  /** Times at which the hub held something else than what was last written, and was put right. */
  readonly repairs: number;
}

/** What a writer waits for first. */
export const firstWish = 'the first list of services';

/** A writer that has just started. `now`: wall clock in ms. */
export function firstStatus(now: number): PublisherStatus {
  return {
    state: 'waiting',
    waitingFor: firstWish,
    since: now,
    epoch: 0,
    revision: 0,
    settled: false,
    refused: new Map(),
    heldBack: new Map(),
    repairs: 0,
  };
}

/** The very same status when nothing changes. What was waited for is forgotten with the waiting. */
export function changeStatus(status: PublisherStatus, change: Partial<PublisherStatus>, now: number): PublisherStatus {
  const changes = Object.entries(change).some(([name, value]) => status[name as keyof PublisherStatus] !== value);
  if (!changes) return status;
  const { waitingFor, ...rest } = status;
  const state = change.state ?? status.state;
  const waits = state === 'waiting' && waitingFor !== undefined ? { waitingFor } : {};
  return { ...rest, ...waits, ...change, ...(state !== status.state && { since: now }) };
}
