/** Counts what was turned away, by a short reason of a closed set: never text that a peer chose. */
export interface Refusals {
  count(reason: string): void;
}
