import type { ConnectionPlan } from '../../model/traffic.ts';

/** How long one candidate may take. ms. */
export interface Timing {
  /** Silent for so long: the next one starts beside it. */
  readonly raceAfterMs: number;
  /** Not connected by then: given up. */
  readonly timeoutMs: number;
}

/** A slow way is given this many round trips before the next candidate starts… */
const raceRoundTrips = 4;
/** …and this many before it is given up: the far side dials too. */
const timeoutRoundTrips = 10;

/**
 * The patience with one candidate: what the policy says, else the gateway's own limits, stretched over a long way so
 * that distance is not taken for failure. `rttMs`: 0 for a local endpoint, or while never measured.
 */
export function timingOf(
  plan: Pick<ConnectionPlan, 'connectTimeoutMs' | 'raceAfterMs'>,
  limits: { readonly connectTimeoutMs: number; readonly raceAfterMs: number },
  rttMs: number,
): Timing {
  const timeoutMs = plan.connectTimeoutMs ?? Math.max(limits.connectTimeoutMs, timeoutRoundTrips * rttMs);
  const raceAfterMs = plan.raceAfterMs ?? Math.max(limits.raceAfterMs, raceRoundTrips * rttMs);
  return { timeoutMs, raceAfterMs: Math.min(raceAfterMs, timeoutMs) };
}
