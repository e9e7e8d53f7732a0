import { IsthmusError } from '../../model/error.ts';
import { isFree } from '../agent/import-ports.ts';

const host = '127.0.0.1';

/** Below what systems hand out to outgoing connections, so that a stopped workload gets its port back. */
const workloadPorts = { from: 27_000, to: 31_999 };

/** Hands out loopback ports: free ones, or consecutive ones of a block that somebody asked for. */
export class DemoPorts {
  readonly #fixedFrom: number | undefined;
  #next: number;

  /** `fixedFrom` undefined: free ones, from a random start. `random`: 0 ≤ x < 1. */
  constructor(fixedFrom: number | undefined, random: number) {
    this.#fixedFrom = fixedFrom;
    const { from, to } = workloadPorts;
    this.#next = fixedFrom ?? from + Math.floor(random * ((to - from) / 2));
  }

  /** For listeners that never move: 0 = let the system choose, or the next of the block. */
  listener(): number {
    return this.#fixedFrom === undefined ? 0 : this.#claim();
  }

  /** A definite port that nobody listens on now. @throws IsthmusError `conflict`, `exhausted` */
  async definite(): Promise<number> {
    const last = this.#fixedFrom === undefined ? workloadPorts.to : 65_535;
    while (this.#next <= last) {
      // Claimed before the look, so that two callers never get the same one.
      const port = this.#claim();
      if (await isFree(host, port)) return port;
      if (this.#fixedFrom === undefined) continue;
      throw new IsthmusError('conflict', `Port ${port} of the block that starts at ${this.#fixedFrom} is in use`, {
        hint: 'Choose another --ports, or leave it out for free ports.',
      });
    }
    throw new IsthmusError('exhausted', 'No free port was found for the demo');
  }

  #claim(): number {
    this.#next += 1;
    return this.#next - 1;
  }
}
