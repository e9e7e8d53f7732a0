/** Held until released or lost. */
export interface Leadership {
  /** Aborts when this replica leads no longer. */
  readonly lost: AbortSignal;
  readonly release: () => Promise<void>;
}

/** Decides which replica of an agent may write. */
export interface LeaderElector {
  /** Resolves once this replica leads. Rejects when `signal` aborts. */
  acquire(signal: AbortSignal): Promise<Leadership>;
}
