import { type Choice, type Choosable, from, type Strategy, warmth } from './strategy.ts';

/** Differences below this are noise of the scheduler, not of the endpoint. */
const leastLatencyMs = 1;
/** Draws of a usable one before looking at all of them. */
const draws = 4;

/**
 * The cheaper of two drawn at random, where cost = (active + 1) × expected latency / warmth. Power of two choices: close
 * to the least loaded of all, without everyone running to the same one.
 */
export const leastRequest: Strategy = {
  order<T extends Choosable>(choice: Choice<T>): T[] {
    const { items } = choice;
    if (items.length === 1) return from(choice, 0);
    const one = draw(choice, undefined);
    if (one === undefined) return from(choice, 0);
    const two = draw(choice, one) ?? one;
    return from(choice, cost(choice, two) < cost(choice, one) ? two : one);
  },
};

function cost<T extends Choosable>(choice: Choice<T>, index: number): number {
  const item = choice.items[index];
  if (!item) return Number.POSITIVE_INFINITY;
  return ((item.active + 1) * Math.max(leastLatencyMs, item.latency.value(choice.now))) / warmth(item, choice);
}

/** Index of a usable item other than `not`, at random; undefined when there is none. */
function draw<T extends Choosable>({ items, usable, random }: Choice<T>, not: number | undefined): number | undefined {
  for (let attempt = 0; attempt < draws; attempt += 1) {
    const index = Math.floor(random() * items.length);
    const item = items[index];
    if (item && index !== not && usable(item)) return index;
  }
  const first = Math.floor(random() * items.length);
  for (let step = 0; step < items.length; step += 1) {
    const index = (first + step) % items.length;
    const item = items[index];
    if (item && index !== not && usable(item)) return index;
  }
  return undefined;
}
