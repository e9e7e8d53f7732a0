/**
 * An immutable map of a few entries, in the order in which they were given. It costs a fifth of a Map, which counts where
 * there are a hundred thousand with one entry each; finding a key costs a look at each entry before it.
 */
export class SmallMap<K, V> implements ReadonlyMap<K, V> {
  /** Keys, each followed by its value. */
  readonly #entries: readonly (K | V)[];

  /** Keys must differ. */
  constructor(entries: Iterable<readonly [K, V]>) {
    const flat: (K | V)[] = [];
    for (const [key, value] of entries) flat.push(key, value);
    // A copy has no room to grow in.
    this.#entries = flat.slice();
  }

  get size(): number {
    return this.#entries.length / 2;
  }

  get(key: K): V | undefined {
    const at = this.#indexOf(key);
    return at < 0 ? undefined : (this.#entries[at + 1] as V);
  }

  has(key: K): boolean {
    return this.#indexOf(key) >= 0;
  }

  forEach(callback: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this) callback(value, key, this);
  }

  *entries(): Generator<[K, V], undefined> {
    const entries = this.#entries;
    for (let at = 0; at < entries.length; at += 2) yield [entries[at] as K, entries[at + 1] as V];
  }

  *keys(): Generator<K, undefined> {
    for (const [key] of this.entries()) yield key;
  }

  *values(): Generator<V, undefined> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): Generator<[K, V], undefined> {
    return this.entries();
  }

  #indexOf(key: K): number {
    for (let at = 0; at < this.#entries.length; at += 2) if (this.#entries[at] === key) return at;
    return -1;
  }
}
