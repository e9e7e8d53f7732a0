/** Decides which replica of an agent may write. */
export interface LeaderElector {
  /** Resolves once this replica leads; `lost` aborts when it no longer does. Rejects when `signal` aborts. */
  acquire(signal: AbortSignal): Promise<{ readonly lost: AbortSignal; release(): Promise<void> }>;
}
