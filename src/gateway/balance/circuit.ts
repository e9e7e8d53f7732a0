import type { ConnectionPlan } from '../../model/traffic.ts';

/** Which bound of a service is reached. */
export type Overflow = 'maxConnections' | 'maxPending';

/** How many connections of one service there are in this gateway, and how many of them are still being made. */
export class Circuit {
  #open = 0;
  #pending = 0;

  get open(): number {
    return this.#open;
  }

  get pending(): number {
    return this.#pending;
  }

  /** Why another connection is turned away at once, or undefined. */
  overflow({ maxConnections, maxPending }: ConnectionPlan): Overflow | undefined {
    if (this.#open >= maxConnections) return 'maxConnections';
    return this.#pending >= maxPending ? 'maxPending' : undefined;
  }

  /** One more is being made; `settled` and then `ended` follow. */
  begin(): void {
    this.#open += 1;
    this.#pending += 1;
  }

  /** It is connected, or will not be. */
  settled(): void {
    this.#pending -= 1;
  }

  ended(): void {
    this.#open -= 1;
  }
}
