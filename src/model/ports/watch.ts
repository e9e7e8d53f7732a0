/** A value that changes over time: read it now, or be told. */
export interface Watch<T> {
  readonly current: T;
  /** Calls `listener` after each change, never for the present value. The result ends the subscription. */
  subscribe(listener: (value: T) => void): () => void;
}
