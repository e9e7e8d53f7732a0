import { hash32 } from './hash.ts';

/** Primes; the smallest with a hundred places for each backend is used, and the last one beyond. */
const sizes = [251, 1021, 4093, 16_381, 65_521] as const;
const placesEach = 100;
const offsetSeed = 0x5bd1e995;
const skipSeed = 0x27d4eb2f;

/**
 * The lookup table of Maglev (Eisenbud et al., NSDI 2016, §3.4): every backend has nearly the same number of places, and
 * when one comes or goes few of the other places change their owner.
 */
export class Maglev {
  readonly #table: Uint16Array;

  /** `ids`: distinct, at most 65,521; the place numbers refer to this order. */
  constructor(ids: readonly string[]) {
    const size = sizes.find((prime) => prime >= ids.length * placesEach) ?? 65_521;
    this.#table = new Uint16Array(size);
    if (ids.length > 0) fill(this.#table, ids);
  }

  get size(): number {
    return this.#table.length;
  }

  /** Index of the backend that owns the place `position` (taken modulo the size). */
  at(position: number): number {
    return this.#table[position % this.#table.length] ?? 0;
  }
}

function fill(table: Uint16Array, ids: readonly string[]): void {
  const size = table.length;
  const taken = new Uint8Array(size);
  const next = Uint32Array.from(ids, (id) => hash32(id, offsetSeed) % size);
  const skip = Uint32Array.from(ids, (id) => (hash32(id, skipSeed) % (size - 1)) + 1);
  let filled = 0;
  for (let turn = 0; filled < size; turn = (turn + 1) % ids.length) {
    let place = next[turn] ?? 0;
    while (taken[place] === 1) place = (place + (skip[turn] ?? 1)) % size;
    taken[place] = 1;
    table[place] = turn;
    next[turn] = (place + (skip[turn] ?? 1)) % size;
    filled += 1;
  }
}
