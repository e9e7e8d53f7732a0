/** Longer texts are rarely the same twice. */
const maxText = 512;

/**
 * Gives equal plain JSON values the same object, so that a hundred thousand of them cost as many as there are different
 * ones. Remembers at most twice `size` of them, those that were asked for last; a value that is forgotten is only held
 * twice. What it gives out must never be changed.
 */
export class SharedValues {
  readonly #size: number;
  #young = new Map<string, unknown>();
  #old = new Map<string, unknown>();

  constructor(size: number) {
    this.#size = size;
  }

  /** An equal value; members in another order, or members that JSON leaves out, make another value. */
  of<T>(value: T): T {
    const text = JSON.stringify(value);
    if (text === undefined || text.length > maxText) return value;
    const known = this.#young.get(text);
    if (known !== undefined) return known as T;
    const shared = this.#old.get(text) ?? value;
    if (this.#young.size >= this.#size) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(text, shared);
    return shared as T;
  }
}
