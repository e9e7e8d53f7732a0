/** Work by key: a key waits at most once, never runs twice at once, and at most `parallel` keys run together. */
export class SyncQueue<Key> {
  readonly #work: (key: Key) => Promise<void>;
  readonly #parallel: number;
  readonly #waiting = new Set<Key>();
  readonly #running = new Map<Key, Promise<void>>();
  #closed = false;

  /** `work` must not reject. */
  constructor(work: (key: Key) => Promise<void>, parallel: number) {
    this.#work = work;
    this.#parallel = parallel;
  }

  add(key: Key): void {
    if (this.#closed) return;
    this.#waiting.add(key);
    this.#pump();
  }

  /** Forgets what waits; resolves when what runs is done. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#waiting.clear();
    await Promise.all(this.#running.values());
  }

  #pump(): void {
    for (const key of this.#waiting) {
      if (this.#running.size >= this.#parallel) return;
      if (this.#running.has(key)) continue;
      this.#waiting.delete(key);
      const done = this.#work(key).finally(() => {
        this.#running.delete(key);
        this.#pump();
      });
      this.#running.set(key, done);
    }
  }
}
