import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { CountedReason, Refusals } from '../metrics/refusals.ts';

const quietMs = 60_000;
const maxPeers = 1000;

/** Logs refused peers, each at most once a minute: whoever floods the port does not flood the log. Counts all. */
export class RefusalLog {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #refusals: Refusals | undefined;
  /** Address → when it was last logged, and how many were left out since. Oldest first. */
  readonly #peers = new Map<string, { at: number; silent: number }>();

  constructor(log: Log, clock: Clock, refusals?: Refusals) {
    this.#log = log;
    this.#clock = clock;
    this.#refusals = refusals;
  }

  /** `reason`: what the metrics count it under. `detail`: the whole story, for the log. */
  note(address: string, reason: CountedReason, detail: string = reason): void {
    this.#refusals?.count(reason);
    const now = this.#clock.monotonic();
    const known = this.#peers.get(address);
    if (known && now - known.at < quietMs) {
      known.silent += 1;
      return;
    }
    this.#peers.delete(address);
    this.#peers.set(address, { at: now, silent: 0 });
    const oldest = this.#peers.keys().next();
    if (this.#peers.size > maxPeers && !oldest.done) this.#peers.delete(oldest.value);
    this.#log.warn({ address, reason: detail, unlogged: known?.silent ?? 0 }, 'a peer was refused');
  }
}
