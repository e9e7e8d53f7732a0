import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** What a test started, ended in reverse when it is over: a directory goes only after those who write into it. */
export class Endings {
  readonly #ends: (() => unknown)[] = [];

  constructor(t: TestContext) {
    t.after(async () => {
      for (const end of this.#ends.splice(0).reverse()) await end();
    });
  }

  add(end: () => unknown): void {
    this.#ends.push(end);
  }

  /** A private directory, removed at the end. */
  async directory(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'isthmus-trust-'));
    this.add(() => rm(path, { recursive: true, force: true }));
    return path;
  }
}
