import { isGrpcCondition, type RetryCondition, type RetryPlan } from '../../model/traffic.ts';

/** Retries in progress that are always allowed: a service with few requests may retry too (as in Envoy's budgets). */
const floor = 3;

/** How many requests of a service there are in this gateway, and how many of them are being tried again. */
export class RetryBudget {
  #active = 0;
  #retrying = 0;

  get active(): number {
    return this.#active;
  }

  begin(): void {
    this.#active += 1;
  }

  /** `retried`: what `take` had granted to the request. */
  ended(retried: boolean): void {
    this.#active -= 1;
    if (retried) this.#retrying -= 1;
  }

  /** Whether one more request may be tried again. Asked once by each request; it holds what it got to its end. */
  take({ budget }: Pick<RetryPlan, 'budget'>): boolean {
    if (this.#retrying >= Math.max(floor, Math.floor(budget * this.#active))) return false;
    this.#retrying += 1;
    return true;
  }
}

/** RFC 9110 §9.2.2: sent twice they do what they do sent once. */
const idempotent: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

export function isIdempotent(method: string): boolean {
  return idempotent.has(method);
}

/** What became of one try. */
export interface FailedTry {
  readonly condition: RetryCondition;
  readonly method: string;
  /** Tries so far, the failed one included. */
  readonly tries: number;
  /** All that was sent of the body is still there to be sent again. */
  readonly replayable: boolean;
}

/**
 * Whether a request may be sent once more, its budget aside. `connect` says that nothing of it was processed. A status of
 * gRPC is the server's own word that the call has failed before it sent anything, and the policy's that it may be
 * repeated: every call is a POST, so nobody else could say so. After anything else only a method may be repeated that
 * does no harm twice. Once a byte of a response went to the client nobody asks any more.
 */
export function mayRetry(plan: RetryPlan, { condition, method, tries, replayable }: FailedTry): boolean {
  if (tries > plan.attempts || !replayable || !plan.on.includes(condition)) return false;
  return condition === 'connect' || isGrpcCondition(condition) || isIdempotent(method);
}
