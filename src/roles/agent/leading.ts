import { messageOf } from '../../model/error.ts';
import type { LeaderElector } from '../../model/ports/leader-elector.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { aborted } from '../shutdown.ts';

export interface LeadingOptions<Part> {
  readonly elector: LeaderElector;
  /** Starts what only the leader runs. */
  readonly begin: () => Promise<Part>;
  /** Ends it: afterwards nothing of it writes any more. */
  readonly end: (part: Part) => Promise<void>;
  readonly log: Log;
}

/** Runs a part of the agent while this replica leads, and ends it before another one may. */
export class Leading<Part> {
  readonly #options: LeadingOptions<Part>;
  readonly #part: Watchable<Part | undefined> = new Watchable<Part | undefined>(undefined);
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: LeadingOptions<Part>) {
    this.#options = options;
  }

  /** Undefined: another replica leads, or none yet. */
  get part(): Watch<Part | undefined> {
    return this.#part;
  }

  /** Stands for election until closed. Rejects when the elector itself fails, or the part cannot begin. */
  start(): Promise<void> {
    this.#running = this.#run();
    return this.#running;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running.catch(() => undefined);
  }

  async #run(): Promise<void> {
    const { elector, begin, end, log } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const leadership = await elector.acquire(signal).catch((thrown: unknown) => {
        if (!signal.aborted) throw thrown;
        return undefined;
      });
      if (!leadership) return;
      try {
        const part = await begin();
        log.info({}, 'leading');
        this.#part.set(part);
        await aborted(AbortSignal.any([signal, leadership.lost]));
        this.#part.set(undefined);
        await end(part);
      } finally {
        await leadership.release().catch((thrown: unknown) => {
          log.warn({ reason: messageOf(thrown) }, 'leadership could not be given back');
        });
      }
      if (!signal.aborted) log.warn({}, 'leads no longer; standing by');
    }
  }
}
