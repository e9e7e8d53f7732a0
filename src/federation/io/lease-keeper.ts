import type { ClusterName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Hub } from '../../model/ports/hub.ts';
import type { Sealer } from '../../model/ports/seal.ts';
import { encodeLease } from '../../wire/partition.ts';

export interface LeaseKeeperOptions {
  readonly hub: Hub;
  readonly cluster: ClusterName;
  /** Between two renewals, in ms. */
  readonly intervalMs: number;
  readonly clock: Clock;
  /** A renewal has become due. */
  readonly onDue: () => void;
}

/** The hub drops a lease that was not renewed so many times. */
const renewalsKept = 9;

/** Says when the own lease is to be renewed, and with what. */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #released = Promise.withResolvers<void>();
  #sequence = 0;
  #due = true;
  #releasing = false;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  get isDue(): boolean {
    return this.#due;
  }

  /** Says good-bye with the next renewal, which is the last. Resolves when the hub has it. */
  release(): Promise<void> {
    if (!this.#releasing) {
      this.#releasing = true;
      this.#due = true;
      this.#timer?.cancel();
      this.#options.onDue();
    }
    return this.#released.promise;
  }

  /** Takes a good-bye back that the hub may or may not have: the next renewal says that this writer is there. */
  stay(): void {
    if (!this.#releasing) return;
    this.#releasing = false;
    this.#due = true;
    this.#options.onDue();
  }

  /** @throws IsthmusError when the hub does not take it; it stays due */
  async renew(epoch: number, sealer: Sealer): Promise<void> {
    const { hub, cluster, clock, intervalMs } = this.#options;
    const releasing = this.#releasing;
    const sequence = this.#sequence + 1;
    const lease = { cluster, epoch, sequence, at: clock.now(), ...(releasing && { released: true as const }) };
    await hub.writeLease(cluster, sealer.seal('lease', encodeLease(lease)), intervalMs * renewalsKept);
    this.#sequence = sequence;
    // Otherwise it was decided meanwhile to say something else, at once.
    if (releasing !== this.#releasing) return;
    this.#due = false;
    if (releasing) this.#released.resolve();
    else this.#schedule();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #schedule(): void {
    if (this.#closed) return;
    const { clock, intervalMs, onDue } = this.#options;
    this.#timer?.cancel();
    this.#timer = clock.schedule(intervalMs, () => {
      this.#due = true;
      onDue();
    });
  }
}
