import { type Choice, type Choosable, from, type Strategy, warmth } from './strategy.ts';

/** Each in turn; one that warms up is passed over as often as it lacks warmth. */
export class RoundRobin implements Strategy {
  #position = 0;

  order<T extends Choosable>(choice: Choice<T>): T[] {
    const { items, usable, random } = choice;
    for (let step = 0; step < items.length; step += 1) {
      const index = this.#position % items.length;
      this.#position = index + 1;
      const item = items[index];
      if (item && usable(item) && random() < warmth(item, choice)) return from(choice, index);
    }
    return from(choice, this.#position % Math.max(1, items.length));
  }
}
