import { IsthmusError } from '../../model/error.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Timing } from './timing.ts';

/** One thing to try. `start` calls back exactly one of `won` and `lost`, later or at once, unless cancelled. */
export interface Candidate<T> extends Timing {
  start(won: (value: T) => void, lost: (error: IsthmusError) => void): Attempt;
}

export interface Attempt {
  /** No further call back; whatever was opened is closed. `why`: it took too long, was overtaken, or is unwanted. */
  cancel(why: 'timeout' | 'overtaken' | 'unwanted'): void;
}

export interface RaceRules {
  /** For all candidates together. */
  readonly connectDeadlineMs: number;
}

export interface RaceResult<T> {
  readonly won: T | undefined;
  /** Candidates that were started. */
  readonly attempts: number;
  /** The last failure, when nothing won. */
  readonly error: IsthmusError | undefined;
}

/** At most this many attempts of one connection are open side by side. */
const abreast = 2;
/** A timer that fires later than this was held up by this process: the answer may be waiting unread. */
const lateMs = 50;
/** Time for the process to read what came in while it was held up. */
const graceMs = 20;

interface Runner {
  attempt: Attempt | undefined;
  timeout: Timer | undefined;
  settled: boolean;
}

/**
 * Tries candidates in order until one wins. A failed one is followed at once; a silent one is joined by the next after
 * its `raceAfterMs` (as in RFC 8305 §5), so that a slow candidate costs a moment and not its time-out. The first to
 * win stays, the other is cancelled. No client byte is involved before that.
 * @returns ends the race without a result
 */
export function race<T>(
  candidates: readonly Candidate<T>[],
  options: { readonly clock: Clock; readonly rules: RaceRules; readonly done: (result: RaceResult<T>) => void },
): () => void {
  const { clock, rules } = options;
  const running = new Set<Runner>();
  let next = 0;
  let finished = false;
  let error: IsthmusError | undefined;
  let stagger: Timer | undefined;

  const finish = (won: T | undefined, why: 'overtaken' | 'timeout' | 'unwanted'): void => {
    finished = true;
    stagger?.cancel();
    deadline.cancel();
    for (const runner of running) end(runner, why);
    if (why !== 'unwanted') options.done({ won, attempts: next, error: won === undefined ? error : undefined });
  };

  const end = (runner: Runner, why?: 'overtaken' | 'timeout' | 'unwanted'): void => {
    runner.settled = true;
    runner.timeout?.cancel();
    running.delete(runner);
    if (why) runner.attempt?.cancel(why);
  };

  const lose = (runner: Runner, reason: IsthmusError): void => {
    if (runner.settled || finished) return;
    end(runner);
    // One that may pass counts for more: who is denied here might have been let in there.
    if (error === undefined || reason.code !== 'denied') error = reason;
    advance();
  };

  const advance = (): void => {
    stagger?.cancel();
    if (finished) return;
    const candidate = candidates[next];
    if (candidate && running.size < abreast) return start(candidate);
    if (!candidate && running.size === 0) finish(undefined, 'timeout');
  };

  const start = (candidate: Candidate<T>): void => {
    next += 1;
    const runner: Runner = { attempt: undefined, timeout: undefined, settled: false };
    running.add(runner);
    const attempt = candidate.start(
      (value) => {
        if (runner.settled || finished) return;
        end(runner);
        finish(value, 'overtaken');
      },
      (reason) => lose(runner, reason),
    );
    runner.attempt = attempt;
    if (runner.settled || finished) return;
    runner.timeout = patientTimer(clock, candidate.timeoutMs, () => {
      attempt.cancel('timeout');
      lose(runner, new IsthmusError('timeout', `No connection within ${candidate.timeoutMs} ms`));
    });
    stagger = patientTimer(clock, candidate.raceAfterMs, advance);
  };

  const deadline = clock.schedule(rules.connectDeadlineMs, () => {
    error ??= new IsthmusError('timeout', `No connection within ${rules.connectDeadlineMs} ms`);
    finish(undefined, 'timeout');
  });
  advance();
  return () => {
    if (!finished) finish(undefined, 'unwanted');
  };
}

/** Fires after `delayMs`, and a little later when this process itself was held up meanwhile. */
function patientTimer(clock: Clock, delayMs: number, task: () => void): Timer {
  const due = clock.monotonic() + delayMs;
  let timer = clock.schedule(delayMs, () => {
    if (clock.monotonic() - due < lateMs) return task();
    timer = clock.schedule(graceMs, task);
  });
  return { cancel: () => timer.cancel() };
}
