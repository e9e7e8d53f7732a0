import type { RefusalReason } from '../../model/trust.ts';
import type { RuleId } from './rules.ts';

/** Why something was refused, as a value: verifiers never throw. */
export interface Refusal {
  readonly ok: false;
  readonly reason: RefusalReason;
  /** The rule and the value, for people. */
  readonly detail: string;
  /** The numbered rule; absent: what was asked is no matter of a rule. */
  readonly rule?: RuleId;
}

export function refuse(reason: RefusalReason, detail: string, rule?: RuleId): Refusal {
  return { ok: false, reason, detail, ...(rule !== undefined && { rule }) };
}
