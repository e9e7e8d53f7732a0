/** Whether something that is dialled (an endpoint, a service in another cluster) is in use, by its outcomes. Pure. */
export type Ejection =
  | { readonly kind: 'in'; readonly failures: number }
  | {
      readonly kind: 'out';
      readonly reason: string;
      /** Monotonic ms. */
      readonly since: number;
      /** Monotonic ms of the next probe. */
      readonly probeAt: number;
      /** Pause after that one. */
      readonly delayMs: number;
    };

export interface EjectionRules {
  readonly failuresToEject: number;
  readonly probeInitialMs: number;
  readonly probeMaxMs: number;
}

/** Nothing is known against it. */
export const healthy: Ejection = { kind: 'in', failures: 0 };

/** One failed attempt of real traffic. Attempts against what is out already say nothing new. */
export function afterFailure(state: Ejection, reason: string, now: number, rules: EjectionRules): Ejection {
  if (state.kind === 'out') return state;
  const failures = state.failures + 1;
  if (failures < rules.failuresToEject) return { kind: 'in', failures };
  return {
    kind: 'out',
    reason,
    since: now,
    probeAt: now + rules.probeInitialMs,
    delayMs: Math.min(rules.probeMaxMs, rules.probeInitialMs * 2),
  };
}

/** One success, of a probe or of traffic that had nowhere else to go. */
export function afterSuccess(state: Ejection): Ejection {
  return state.kind === 'in' && state.failures === 0 ? state : healthy;
}

export function probeDue(state: Ejection, now: number): boolean {
  return state.kind === 'out' && state.probeAt <= now;
}

/** A probe starts: the next one is due later, so that one which never answers does not stop the others. */
export function probing(state: Ejection, now: number, rules: EjectionRules): Ejection {
  if (state.kind === 'in') return state;
  return { ...state, probeAt: now + state.delayMs, delayMs: Math.min(rules.probeMaxMs, state.delayMs * 2) };
}
