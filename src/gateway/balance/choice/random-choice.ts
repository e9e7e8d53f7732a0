import { type Choice, type Choosable, from, type Strategy, warmth } from './strategy.ts';

/** Draws before the next usable one is taken as it comes. */
const draws = 8;

/** Any, with equal chances; one that warms up has as much less of a chance. */
export const randomChoice: Strategy = {
  order<T extends Choosable>(choice: Choice<T>): T[] {
    const { items, usable, random } = choice;
    let index = 0;
    for (let attempt = 0; attempt < draws; attempt += 1) {
      index = Math.floor(random() * items.length);
      const item = items[index];
      if (item && usable(item) && random() < warmth(item, choice)) break;
    }
    return from(choice, index);
  },
};
