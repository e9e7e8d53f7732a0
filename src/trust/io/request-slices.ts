import { IsthmusError } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { RequestKind } from '../issue/request-limiter.ts';

/** So long requests are worked on without a break, in ms; everything else of the process waits meanwhile. */
const sliceMs = 4;
/** Requests that may wait for their turn. */
const maxWaiting = 4096;

/**
 * Spreads the work of many requests that come at once over turns of the event loop, so that nothing else has to wait
 * for all of them. Renewals go before joins.
 */
export class RequestSlices {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #waiting: Readonly<Record<RequestKind, (() => void)[]>> = { renewal: [], join: [] };
  /** Monotonic ms; undefined: no slice is under way. */
  #begunAt: number | undefined;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** Resolves when this request may be worked on. @throws IsthmusError `exhausted` */
  async turn(kind: RequestKind): Promise<void> {
    const { renewal, join } = this.#waiting;
    if (this.#begunAt === undefined) this.#begin();
    if (renewal.length + join.length === 0 && !this.#isOver()) return;
    if (renewal.length + join.length >= maxWaiting) {
      throw new IsthmusError('exhausted', `${maxWaiting} certificate requests wait already`, { retryAfterMs: 1000 });
    }
    await new Promise<void>((resolve) => this.#waiting[kind].push(resolve));
  }

  #begin(): void {
    this.#begunAt = this.#clock.monotonic();
    setImmediate(() => void this.#next());
  }

  #isOver(): boolean {
    return this.#begunAt !== undefined && this.#clock.monotonic() - this.#begunAt >= sliceMs;
  }

  async #next(): Promise<void> {
    this.#begunAt = undefined;
    const { renewal, join } = this.#waiting;
    if (renewal.length + join.length === 0) return;
    this.#begin();
    while (!this.#isOver()) {
      const resume = renewal.shift() ?? join.shift();
      if (!resume) return;
      resume();
      // What was resumed runs before this goes on, up to where it waits itself.
      await Promise.resolve();
    }
  }
}
