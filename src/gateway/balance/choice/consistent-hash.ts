import { hash32 } from './hash.ts';
import { Maglev } from './maglev.ts';
import { randomChoice } from './random-choice.ts';
import type { Choice, Choosable, Strategy } from './strategy.ts';

const sourceSeed = 0x9747b28c;
/** A changed list gets its table at most this often: a list that changes all the time does not burn the processor. */
const rebuildMs = 100;
/** Places looked at per item wanted, before the rest is taken as it comes. */
const looks = 64;

interface Built {
  readonly items: readonly Choosable[];
  /** Sorted: the order in which a source lists its endpoints says nothing. The table's numbers refer to it. */
  readonly ids: readonly string[];
  readonly table: Maglev;
  readonly at: number;
}

/**
 * The same client address goes to the same item as long as that is in use; when it is not, its clients spread over the
 * others and everybody else stays. What warms up is not spared: a client has its place.
 */
export class ConsistentHash implements Strategy {
  #built: Built | undefined;
  /** Positions in `#indexed` by id. */
  #index: ReadonlyMap<string, number> = new Map();
  #indexed: readonly Choosable[] = [];

  order<T extends Choosable>(choice: Choice<T>): T[] {
    const { items, source, limit, usable } = choice;
    if (source === undefined || items.length <= 1) return randomChoice.order(choice);
    const { ids, table } = this.#tableOf(items, choice.now);
    const start = hash32(source, sourceSeed) % table.size;
    const most = Math.min(table.size, looks * limit);
    const order = new Set<T>();
    for (let step = 0; step < most && order.size < Math.min(limit, items.length); step += 1) {
      const position = this.#index.get(ids[table.at(start + step)] ?? '');
      const item = position === undefined ? undefined : items[position];
      if (item && usable(item)) order.add(item);
    }
    for (const item of items) {
      if (order.size >= limit) break;
      if (usable(item)) order.add(item);
    }
    return [...order];
  }

  #tableOf(items: readonly Choosable[], now: number): Built {
    if (items !== this.#indexed) {
      this.#index = new Map(items.map(({ id }, position) => [id, position]));
      this.#indexed = items;
    }
    const built = this.#built;
    if (built && (built.items === items || now - built.at < rebuildMs)) return built;
    const ids = items.map(({ id }) => id).sort();
    const same = built?.ids.length === ids.length && ids.every((id, index) => id === built.ids[index]);
    this.#built = { items, ids, table: same ? built.table : new Maglev(ids), at: now };
    return this.#built;
  }
}
