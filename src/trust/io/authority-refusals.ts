import { type ErrorCode, IsthmusError } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { type CallerKind, DenialBudget } from '../authority/denials.ts';
import type { AuthorityLedger } from './authority-ledger.ts';

/** Whose request it is. */
export interface Caller {
  readonly kind: CallerKind;
  readonly who: string;
  readonly subject: string;
}

export interface RefusalsOptions {
  readonly ledger: AuthorityLedger;
  readonly clock: Clock;
  readonly log: Log;
}

/** Failures that are the caller's doing. */
const deniedCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'invalid',
  'unauthenticated',
  'denied',
  'not-found',
  'conflict',
  'exhausted',
  'corrupt',
]);

/** Writes down what callers are refused, as far as their kind may fill the journal. */
export class Refusals {
  readonly #options: RefusalsOptions;
  readonly #budget: DenialBudget;

  constructor(options: RefusalsOptions) {
    this.#options = options;
    this.#budget = new DenialBudget(options.clock.monotonic());
  }

  /** Runs a caller's request. Rejects as `run` does. */
  async answer<T>(caller: Caller, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (thrown) {
      await this.#note(caller, IsthmusError.from(thrown));
      throw thrown;
    }
  }

  async #note({ kind, who, subject }: Caller, { code, message }: IsthmusError): Promise<void> {
    const { ledger, clock, log } = this.#options;
    if (!deniedCodes.has(code)) return;
    const detail = this.#budget.tell(kind, message.slice(0, 500), clock.monotonic());
    if (detail === undefined) return;
    // The caller is refused whether or not the disk takes note.
    await ledger.decide({ entries: [{ who, what: 'deny', subject, detail }] }).catch((failed: unknown) => {
      log.error({ err: failed, detail }, 'cannot write down a refusal');
    });
  }
}
