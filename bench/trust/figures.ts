export interface IssuanceFigures {
  readonly perSecond: number;
  /** From a request to its chain. */
  readonly p99Ms: number;
  readonly loopP99Ms: number;
}

/** @param waits of each request in ms; @param loopP99Ns as `monitorEventLoopDelay` tells it */
export function figuresOf(waits: readonly number[], tookMs: number, loopP99Ns: number): IssuanceFigures {
  const sorted = [...waits].sort((a, b) => a - b);
  return {
    perSecond: sorted.length / (tookMs / 1000),
    p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN,
    loopP99Ms: loopP99Ns / 1e6,
  };
}
