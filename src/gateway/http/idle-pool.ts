/** Something kept open between two uses. */
export interface Idle {
  /** Monotonic ms after which it is not to be used again. */
  readonly reuseUntil: number;
  /** Still of use: not closed, and the way below it not about to end. */
  readonly usable: boolean;
  close(): void;
}

export interface IdleBounds {
  /** In this pool. */
  readonly total: number;
  readonly perPlace: number;
}

/** Connections that wait for their next request, by the place that they lead to. The one used last is used first. */
export class IdlePool<Place extends object, C extends Idle> {
  readonly #bounds: IdleBounds;
  readonly #places = new Map<Place, C[]>();
  #size = 0;

  constructor(bounds: IdleBounds) {
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#size;
  }

  /** `fresh`: only one that may be used at `now`, monotonic ms, and passes that test. */
  take(place: Place, now: number, fresh?: (connection: C) => boolean): C | undefined {
    const stack = this.#places.get(place);
    if (!stack) return undefined;
    for (let connection = stack.at(-1); connection; connection = stack.at(-1)) {
      if (connection.usable && connection.reuseUntil > now) {
        if (fresh && !fresh(connection)) return undefined;
        stack.pop();
        this.#size -= 1;
        return connection;
      }
      stack.pop();
      this.#size -= 1;
      connection.close();
    }
    return undefined;
  }

  /** Closes it when there is no room. */
  put(place: Place, connection: C): void {
    const stack = this.#places.get(place);
    if (this.#size >= this.#bounds.total || (stack?.length ?? 0) >= this.#bounds.perPlace) return connection.close();
    if (stack) stack.push(connection);
    else this.#places.set(place, [connection]);
    this.#size += 1;
  }

  /** It has closed by itself. */
  remove(place: Place, connection: C): void {
    const stack = this.#places.get(place);
    const index = stack?.indexOf(connection) ?? -1;
    if (!stack || index < 0) return;
    stack.splice(index, 1);
    this.#size -= 1;
    if (stack.length === 0) this.#places.delete(place);
  }

  /** Closes what must not be used any more. `serves`: whether a place is still one. `now`: monotonic ms. */
  sweep(now: number, serves: (place: Place) => boolean): void {
    for (const [place, stack] of this.#places) {
      const stays = serves(place);
      if (stack.length === 0) this.#places.delete(place);
      const kept = stack.filter((one) => stays && one.usable && one.reuseUntil > now);
      if (kept.length === stack.length) continue;
      this.#size -= stack.length - kept.length;
      const gone = stack.filter((one) => !kept.includes(one));
      if (kept.length === 0) this.#places.delete(place);
      else this.#places.set(place, kept);
      for (const one of gone) one.close();
    }
  }

  /** Closes all. */
  clear(): void {
    const all = [...this.#places.values()].flat();
    this.#places.clear();
    this.#size = 0;
    for (const one of all) one.close();
  }
}
