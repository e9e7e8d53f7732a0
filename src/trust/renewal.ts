/** A certificate's life, wall clock in ms. */
export interface Life {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Share of the life by which renewals of many holders are spread, to both sides of the half. */
const jitterShare = 0.1;

/** When to renew: at half life ± a tenth. `random`: 0 ≤ x < 1. Wall clock in ms. */
export function renewAt({ notBefore, notAfter }: Life, random: number): number {
  const life = notAfter - notBefore;
  return notBefore + life / 2 + (random * 2 - 1) * jitterShare * life;
}

/** Shortest and longest pause in ms between two looks at what is due: clocks jump, machines sleep. */
const minPauseMs = 50;
const maxPauseMs = 30_000;

/** How long to wait until the earliest of `due` (wall clock in ms), within reason. */
export function pauseUntil(now: number, due: readonly number[]): number {
  return Math.max(minPauseMs, Math.min(maxPauseMs, ...due.map((at) => at - now)));
}
