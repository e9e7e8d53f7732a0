import type { StateFiles } from '../../../src/federation/io/state-files.ts';
import type { Random } from './random.ts';
import type { Timeline } from './timeline.ts';

/** The disk of one machine: what was written when it crashed is there, what was being written is not. */
export class SimDisk {
  readonly #time: Timeline;
  readonly #random: Random;
  readonly #content = new Map<string, Uint8Array>();

  constructor(time: Timeline, random: Random) {
    this.#time = time;
    this.#random = random;
  }

  wipe(): void {
    this.#content.clear();
  }

  files(isAlive: () => boolean): StateFiles {
    const step = <T>(work: () => T): Promise<T> =>
      new Promise((resolve) => {
        this.#time.after(this.#random.next() * 5, () => {
          if (isAlive()) resolve(work());
        });
      });
    return {
      ensureDir: () => Promise.resolve(),
      read: (path) => step(() => this.#content.get(path)),
      write: (path, data) => step(() => void this.#content.set(path, Buffer.from(data))),
      remove: (path) => step(() => void this.#content.delete(path)),
    };
  }
}
