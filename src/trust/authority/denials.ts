import { TokenBucket } from '../../runtime/token-bucket.ts';

/** Refusals that are written down one by one: some at once, then one every 10 minutes. */
const rule = { perSecond: 1 / 600, burst: 32 };

/** What a caller is known as: a stranger must not use up the room of members. */
export type CallerKind = 'stranger' | 'member';

/**
 * Bounds what refused calls add to a journal that is kept for ever. What is not written down is counted, and the next
 * record says how many. Times are monotonic ms.
 */
export class DenialBudget {
  readonly #buckets: Readonly<Record<CallerKind, TokenBucket>>;
  readonly #untold: Record<CallerKind, number> = { stranger: 0, member: 0 };

  constructor(now: number) {
    this.#buckets = { stranger: new TokenBucket(rule, now), member: new TokenBucket(rule, now) };
  }

  /** The text to write down about a refusal; undefined: it is only counted. */
  tell(kind: CallerKind, detail: string, now: number): string | undefined {
    const bucket = this.#buckets[kind];
    if (bucket.waitMs(now) > 0) {
      this.#untold[kind] += 1;
      return undefined;
    }
    bucket.take(now);
    const untold = this.#untold[kind];
    this.#untold[kind] = 0;
    return untold === 0 ? detail : `${detail} (and ${untold} more refusals of a ${kind} before)`;
  }
}
