/** Entries of one leaf: what a change copies. */
const maxLeaf = 64;
/** A smaller leaf joins its neighbour. */
const minLeaf = 16;

interface Leaf<K extends string, V> {
  readonly keys: readonly K[];
  readonly values: readonly V[];
}

/** One key that differs between two maps. */
export interface Difference<K extends string, V> {
  readonly key: K;
  /** Undefined: not in the map before. */
  readonly before: V | undefined;
  /** Undefined: not in the map after. */
  readonly after: V | undefined;
}

/**
 * An immutable map in the order of its keys (by UTF-16 code units). `with` costs what changes, plus one pointer for
 * every 64 entries, and shares all else; `differences` between two maps of one history skips what they share. So a
 * reader can hold any version for as long as it likes, and find out what is new at the price of what is new.
 */
export class SortedMap<K extends string, V> implements ReadonlyMap<K, V> {
  readonly size: number;
  readonly #leaves: readonly Leaf<K, V>[];

  private constructor(leaves: readonly Leaf<K, V>[], size: number) {
    this.#leaves = leaves;
    this.size = size;
  }

  /** The very map when it is one already. */
  static from<K extends string, V>(map: ReadonlyMap<K, V> | Iterable<readonly [K, V]>): SortedMap<K, V> {
    if (map instanceof SortedMap) return map;
    const entries = [...new Map(map)].sort(([a], [b]) => (a < b ? -1 : 1));
    return new SortedMap(leavesOf(entries), entries.length);
  }

  get(key: K): V | undefined {
    const leaf = this.#leaves[leafOf(this.#leaves, key)];
    if (!leaf) return undefined;
    const at = lowerBound(leaf.keys, key);
    return leaf.keys[at] === key ? leaf.values[at] : undefined;
  }

  has(key: K): boolean {
    const leaf = this.#leaves[leafOf(this.#leaves, key)];
    return leaf !== undefined && leaf.keys[lowerBound(leaf.keys, key)] === key;
  }

  /** The map after these changes; undefined removes. The very same map when nothing differs by `Object.is`. */
  with(changes: Iterable<readonly [K, V | undefined]>): SortedMap<K, V> {
    const sorted = [...new Map(changes)].sort(([a], [b]) => (a < b ? -1 : 1));
    let leaves: Leaf<K, V>[] | undefined;
    let size = this.size;
    // From the end, so that a leaf which splits or goes does not move those still to be looked at.
    for (let end = sorted.length; end > 0; ) {
      const source = leaves ?? this.#leaves;
      const index = leafOf(source, (sorted[end - 1] as readonly [K, V])[0]);
      const leaf = source[index];
      let start = end - 1;
      const first = leaf?.keys[0];
      while (start > 0 && (index === 0 || first === undefined || (sorted[start - 1] as readonly [K, V])[0] >= first)) {
        start -= 1;
      }
      const entries = merged(leaf, sorted.slice(start, end));
      end = start;
      if (!entries) continue;
      size += entries.length - (leaf?.keys.length ?? 0);
      leaves ??= [...this.#leaves];
      replace(leaves, index, entries);
    }
    return leaves ? new SortedMap(leaves, size) : this;
  }

  /** What leads from `before` to this map, in the order of the keys; values are compared by `Object.is`. */
  *differences(before: SortedMap<K, V>): Generator<Difference<K, V>> {
    // Mostly one leaf of hundreds differs: what is the same up to it, and behind it, is passed over at a pointer each.
    const { start, oldEnd, nowEnd } = differing(before.#leaves, this.#leaves);
    const old = new Cursor(before.#leaves, start, oldEnd);
    const now = new Cursor(this.#leaves, start, nowEnd);
    while (old.key !== undefined || now.key !== undefined) {
      if (skipShared(old, now)) continue;
      if (now.key === undefined || (old.key !== undefined && old.key < now.key)) {
        yield { key: old.key as K, before: old.value, after: undefined };
        old.step();
      } else if (old.key === undefined || now.key < old.key) {
        yield { key: now.key, before: undefined, after: now.value };
        now.step();
      } else {
        if (!Object.is(old.value, now.value)) yield { key: now.key, before: old.value, after: now.value };
        old.step();
        now.step();
      }
    }
  }

  forEach(callback: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this) callback(value, key, this);
  }

  *entries(): Generator<[K, V], undefined> {
    for (const { keys, values } of this.#leaves) {
      for (let index = 0; index < keys.length; index += 1) yield [keys[index] as K, values[index] as V];
    }
  }

  *keys(): Generator<K, undefined> {
    for (const { keys } of this.#leaves) yield* keys;
  }

  *values(): Generator<V, undefined> {
    for (const { values } of this.#leaves) yield* values;
  }

  [Symbol.iterator](): Generator<[K, V], undefined> {
    return this.entries();
  }
}

/** A position in some of the leaves; `key` is undefined behind the last entry. */
class Cursor<K extends string, V> {
  readonly #leaves: readonly Leaf<K, V>[];
  readonly #end: number;
  #leaf: number;
  #at = 0;

  /** `end`: the index of the first leaf that is not looked at. */
  constructor(leaves: readonly Leaf<K, V>[], start: number, end: number) {
    this.#leaves = leaves;
    this.#leaf = start;
    this.#end = end;
  }

  get leaf(): Leaf<K, V> | undefined {
    return this.#leaf < this.#end ? this.#leaves[this.#leaf] : undefined;
  }

  get isAtStart(): boolean {
    return this.#at === 0;
  }

  get key(): K | undefined {
    return this.leaf?.keys[this.#at];
  }

  get value(): V | undefined {
    return this.leaf?.values[this.#at];
  }

  step(): void {
    this.#at += 1;
    if (this.#at >= (this.leaf?.keys.length ?? 0)) this.skipLeaf();
  }

  skipLeaf(): void {
    this.#leaf += 1;
    this.#at = 0;
  }
}

interface Differing {
  readonly start: number;
  readonly oldEnd: number;
  readonly nowEnd: number;
}

/** The leaves between the longest beginning and the longest end that both share. */
function differing(old: readonly object[], now: readonly object[]): Differing {
  const most = Math.min(old.length, now.length);
  let start = 0;
  while (start < most && old[start] === now[start]) start += 1;
  let [oldEnd, nowEnd] = [old.length, now.length];
  while (oldEnd > start && nowEnd > start && old[oldEnd - 1] === now[nowEnd - 1]) {
    oldEnd -= 1;
    nowEnd -= 1;
  }
  return { start, oldEnd, nowEnd };
}

function skipShared<K extends string, V>(a: Cursor<K, V>, b: Cursor<K, V>): boolean {
  if (!a.isAtStart || !b.isAtStart || !a.leaf || a.leaf !== b.leaf) return false;
  a.skipLeaf();
  b.skipLeaf();
  return true;
}

/** Index of the leaf in which the key is or belongs: the last one that does not begin behind it. */
function leafOf<K extends string, V>(leaves: readonly Leaf<K, V>[], key: K): number {
  let low = 0;
  let high = leaves.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((leaves[middle]?.keys[0] as K) <= key) low = middle;
    else high = middle;
  }
  return low;
}

/** Index of the first key that is not before `key`. */
function lowerBound<K extends string>(keys: readonly K[], key: K): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((keys[middle] as K) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A leaf's entries after sorted changes; undefined when nothing differs. */
function merged<K extends string, V>(
  leaf: Leaf<K, V> | undefined,
  changes: readonly (readonly [K, V | undefined])[],
): (readonly [K, V])[] | undefined {
  const entries: (readonly [K, V])[] = [];
  let differs = false;
  let at = 0;
  const take = (until: K | undefined): void => {
    while (leaf && at < leaf.keys.length && (until === undefined || (leaf.keys[at] as K) < until)) {
      entries.push([leaf.keys[at] as K, leaf.values[at] as V]);
      at += 1;
    }
  };
  for (const [key, value] of changes) {
    take(key);
    const known = leaf?.keys[at] === key;
    if (value !== undefined) entries.push([key, value]);
    differs ||= known ? !Object.is(leaf?.values[at], value) : value !== undefined;
    if (known) at += 1;
  }
  if (!differs) return undefined;
  take(undefined);
  return entries;
}

function replace<K extends string, V>(leaves: Leaf<K, V>[], index: number, entries: (readonly [K, V])[]): void {
  const next = leaves[index + 1];
  if (entries.length < minLeaf && next) {
    for (const [at, key] of next.keys.entries()) entries.push([key, next.values[at] as V]);
    leaves.splice(index, 2, ...leavesOf(entries));
    return;
  }
  const fitting = leavesOf(entries);
  if (fitting.length === 1) leaves[index] = fitting[0] as Leaf<K, V>;
  else leaves.splice(index, 1, ...fitting);
}

/** Leaves of equal size for sorted entries; none for none. */
function leavesOf<K extends string, V>(entries: readonly (readonly [K, V])[]): Leaf<K, V>[] {
  const count = Math.ceil(entries.length / maxLeaf);
  return Array.from({ length: count }, (_, index) => {
    const part = entries.slice(
      Math.floor((index * entries.length) / count),
      Math.floor(((index + 1) * entries.length) / count),
    );
    return { keys: part.map(([key]) => key), values: part.map(([, value]) => value) };
  });
}
