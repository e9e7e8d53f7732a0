import { messageOf } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { ClockGuard, clockRefusal, type Moment, toleranceMs } from '../authority/clock-guard.ts';

export interface ClusterClockOptions {
  readonly clock: Clock;
  /** Ms since an arbitrary start, the sleep of the machine included. Default: the monotonic clock. */
  readonly elapsedMs?: (() => number) | undefined;
  /** Writes down, once, that the clock is not believed. */
  readonly tell: (problem: string) => Promise<void>;
  readonly log: Log;
}

/**
 * Keeps an agent from signing while its wall clock has jumped. The authority's clock is the judge: where both agree, ours
 * is right, whatever it was before.
 */
export class ClusterClock {
  readonly #options: ClusterClockOptions;
  readonly #guard: ClockGuard;
  #told = false;

  constructor(options: ClusterClockOptions) {
    this.#options = options;
    this.#guard = new ClockGuard(0, this.#moment());
  }

  /** Why nothing is signed now; undefined: it is. */
  get problem(): string | undefined {
    return this.#guard.problem(this.#moment());
  }

  /** @throws IsthmusError `unavailable` */
  async require(): Promise<void> {
    const { problem } = this;
    if (problem === undefined) {
      this.#told = false;
      return;
    }
    if (!this.#told) await this.#tell(problem);
    throw clockRefusal(problem, 'Set the clock right; the agent goes on as soon as the authority agrees with it.');
  }

  /** The authority's wall clock said `at`, in ms, just now. */
  heard(at: number): void {
    if (Math.abs(this.#options.clock.now() - at) <= toleranceMs) this.#guard.accept(this.#moment());
  }

  async #tell(problem: string): Promise<void> {
    const { tell, log } = this.#options;
    this.#told = true;
    log.error({ problem }, 'nothing is signed until the clock is right');
    await tell(problem).catch((thrown: unknown) => {
      log.error({ why: messageOf(thrown) }, 'cannot write down that the clock jumped');
    });
  }

  #moment(): Moment {
    const { clock, elapsedMs } = this.#options;
    return { now: clock.now(), elapsed: elapsedMs?.() ?? clock.monotonic() };
  }
}
