import type { OutlierPlan } from '../../model/traffic.ts';

/**
 * Whether something that is dialled (an endpoint, a service in another cluster) is in use, by its outcomes. Two kinds of
 * evidence: it cannot be reached, which a probe can disprove; or its connections come to nothing, which only time can.
 * Pure; times are monotonic ms.
 */
export type Ejection =
  | {
      readonly kind: 'in';
      /** Failed attempts to reach it in a row. */
      readonly failures: number;
      /** Connections in a row that it reset before a single byte. */
      readonly resets: number;
      /** Ejections in short order so far. */
      readonly ejections: number;
      readonly since: number;
      /** It should be out, but too many are: a probe decides. */
      readonly suspect: Suspicion | undefined;
    }
  | {
      readonly kind: 'out';
      readonly cause: 'unreachable' | 'outcomes';
      readonly reason: string;
      readonly since: number;
      /** Not in again before this. */
      readonly until: number;
      readonly ejections: number;
      /** The next probe. */
      readonly probeAt: number;
      /** Pause after that one. */
      readonly delayMs: number;
    };

interface Suspicion {
  readonly reason: string;
  readonly probeAt: number;
}

/** How what is out is looked at again. */
export interface ProbeRules {
  readonly probeInitialMs: number;
  readonly probeMaxMs: number;
}

export interface Failure {
  readonly reason: string;
  readonly now: number;
  /** Whether another one may be out without a probe having said so, see `mayEject`. */
  readonly mayEject: boolean;
}

export interface EjectionRules extends ProbeRules {
  readonly outlier: OutlierPlan;
}

/** No ejection lasts longer, however often it came to that. */
const longestMs = 300_000;
/** So many times the base without an ejection, and one of the earlier ones is forgotten. */
const forgiveAfter = 2;

/** Nothing is known against it. */
export const healthy: Ejection = {
  kind: 'in',
  failures: 0,
  resets: 0,
  ejections: 0,
  since: Number.NEGATIVE_INFINITY,
  suspect: undefined,
};

/** Whether one more of `total` may be out: at least one always may, whatever the share. */
export function mayEject(out: number, total: number, { maxEjected }: OutlierPlan): boolean {
  return out < Math.max(1, Math.floor(maxEjected * total));
}

/** It could not be reached. Attempts against what is out already say nothing new. */
export function afterFailure(state: Ejection, failure: Failure, rules: EjectionRules): Ejection {
  if (state.kind === 'out') return state;
  const failures = state.failures + 1;
  if (failures < rules.outlier.consecutiveFailures) return { ...state, failures };
  if (failure.mayEject) return out(state, { ...failure, cause: 'unreachable' }, rules);
  return { ...state, failures, suspect: state.suspect ?? { reason: failure.reason, probeAt: failure.now } };
}

/** It took a connection and reset it before a single byte. */
export function afterReset(state: Ejection, failure: Failure, rules: EjectionRules): Ejection {
  if (state.kind === 'out') return state;
  const resets = state.resets + 1;
  const over = resets >= rules.outlier.consecutiveFailures && failure.mayEject;
  return over ? out(state, { ...failure, cause: 'outcomes' }, rules) : { ...state, resets };
}

/** It succeeds clearly less often than its siblings. */
export function asOutlier(state: Ejection, failure: Failure, rules: EjectionRules): Ejection {
  if (state.kind === 'out' || !failure.mayEject) return state;
  return out(state, { ...failure, cause: 'outcomes' }, rules);
}

/** A connection to it came about: of a probe, or of traffic that had nowhere else to go. */
export function afterReached(state: Ejection, now: number): Ejection {
  if (state.kind === 'in') {
    return state.failures === 0 && !state.suspect ? state : { ...state, failures: 0, suspect: undefined };
  }
  return state.cause === 'unreachable' && now >= state.until ? back(state, now) : state;
}

/** A connection over it went well. */
export function afterGood(state: Ejection): Ejection {
  return state.kind === 'in' && state.resets > 0 ? { ...state, resets: 0 } : state;
}

/** A probe found it unreachable. */
export function afterProbeFailed(state: Ejection, now: number, rules: EjectionRules): Ejection {
  if (state.kind === 'out' || !state.suspect) return state;
  return out(state, { reason: state.suspect.reason, now, cause: 'unreachable' }, rules);
}

/** Time has passed: what only time can judge is in again. */
export function afterTime(state: Ejection, now: number): Ejection {
  return state.kind === 'out' && state.cause === 'outcomes' && now >= state.until ? back(state, now) : state;
}

export function probeDue(state: Ejection, now: number): boolean {
  if (state.kind === 'in') return state.suspect !== undefined && state.suspect.probeAt <= now;
  return state.cause === 'unreachable' && state.probeAt <= now;
}

/** A probe starts: the next one is due later, so that one which never answers does not stop the others. */
export function probing(state: Ejection, now: number, rules: ProbeRules): Ejection {
  if (state.kind === 'in') {
    return state.suspect ? { ...state, suspect: { ...state.suspect, probeAt: now + rules.probeMaxMs } } : state;
  }
  return { ...state, probeAt: now + state.delayMs, delayMs: Math.min(rules.probeMaxMs, state.delayMs * 2) };
}

function out(
  state: Extract<Ejection, { kind: 'in' }>,
  { reason, now, cause }: { readonly reason: string; readonly now: number; readonly cause: 'unreachable' | 'outcomes' },
  { outlier, probeInitialMs, probeMaxMs }: EjectionRules,
): Ejection {
  const forgiven = Math.floor((now - state.since) / (outlier.baseEjectionMs * forgiveAfter));
  const ejections = Math.max(0, state.ejections - forgiven) + 1;
  // What a probe can disprove need not wait the first time; one that flaps does.
  const times = cause === 'unreachable' ? ejections - 1 : ejections;
  return {
    kind: 'out',
    cause,
    reason,
    since: now,
    until: now + Math.min(longestMs, outlier.baseEjectionMs * times),
    ejections,
    probeAt: now + probeInitialMs,
    delayMs: Math.min(probeMaxMs, probeInitialMs * 2),
  };
}

function back({ ejections }: Extract<Ejection, { kind: 'out' }>, now: number): Ejection {
  return { ...healthy, ejections, since: now };
}
