export interface Timer {
  cancel(): void;
}

/** Time, so that pure code never asks the machine and tests never sleep. */
export interface Clock {
  /** Wall clock, ms since the epoch. Only for what is shown to people or compared with certificates. */
  now(): number;
  /** Monotonic ms from an arbitrary start. For every duration. */
  monotonic(): number;
  /** Runs `task` once after `delayMs`. A pending timer does not keep the process alive. */
  schedule(delayMs: number, task: () => void): Timer;
  /** 0 ≤ x < 1, for jitter and selection only. */
  random(): number;
}
