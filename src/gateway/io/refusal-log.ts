import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';

const quietMs = 60_000;
const maxPeers = 1000;

/** Logs refused peers, each at most once a minute: whoever floods the port does not flood the log. */
export class RefusalLog {
  readonly #log: Log;
  readonly #clock: Clock;
  /** Address → when it was last logged, and how many were left out since. Oldest first. */
  readonly #peers = new Map<string, { at: number; silent: number }>();

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  note(address: string, reason: string): void {
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
    this.#log.warn({ address, reason, unlogged: known?.silent ?? 0 }, 'a peer was refused');
  }
}
