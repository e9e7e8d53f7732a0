import type { RefusalReason } from '../../model/trust.ts';

/** Why something was refused, as a value: verifiers never throw. */
export interface Refusal {
  readonly ok: false;
  readonly reason: RefusalReason;
  /** The rule and the value, for people. */
  readonly detail: string;
}

export function refuse(reason: RefusalReason, detail: string): Refusal {
  return { ok: false, reason, detail };
}
