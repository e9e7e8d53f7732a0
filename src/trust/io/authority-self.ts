import { messageOf } from '../../model/error.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Sealer } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { TlsMaterial } from '../../runtime/io/tls.ts';
import { Watchable } from '../../runtime/watchable.ts';
import type { AuthorityIdentities, AuthorityKeys } from './authority-keys.ts';
import { createSealer } from './sealer.ts';

/** How often it is looked whether an identity needs renewal, in ms. */
const checkMs = 30_000;

export interface OwnIdentitiesOptions {
  readonly keys: AuthorityKeys;
  readonly clock: Clock;
  readonly log: Log;
}

/** The authority's own identities in use: what it presents and seals with, renewed in time. */
export class OwnIdentities {
  readonly #options: OwnIdentitiesOptions;
  readonly #sealer = new Watchable<Sealer | undefined>(undefined);
  #held: AuthorityIdentities | undefined;
  #material: TlsMaterial | undefined;
  #pending = 0;
  #timer: Timer | undefined;
  #closed = false;

  private constructor(options: OwnIdentitiesOptions) {
    this.#options = options;
  }

  /** Reads, renews if it is time, and looks again until closed. @throws IsthmusError as `AuthorityKeys` */
  static async open(options: OwnIdentitiesOptions): Promise<OwnIdentities> {
    const own = new OwnIdentities(options);
    await own.refresh();
    own.#schedule();
    return own;
  }

  /** Undefined: there is none that is valid. */
  get held(): AuthorityIdentities | undefined {
    return this.#held;
  }

  /** The chain that newcomers see ends with the anchor, which is what their token pins. */
  get material(): TlsMaterial | undefined {
    return this.#material;
  }

  get sealer(): Watch<Sealer | undefined> {
    return this.#sealer;
  }

  /** Those that an offline root has yet to sign. */
  get pending(): number {
    return this.#pending;
  }

  /** Takes up what has changed on disk. @throws IsthmusError as `AuthorityKeys` */
  async refresh(): Promise<void> {
    const { keys, clock, log } = this.#options;
    const now = clock.now();
    const { current, renewed } = await keys.identities(now);
    this.#pending = keys.root ? 0 : (await keys.requests(now)).length;
    const held = this.#held;
    if (current?.tls.notAfter === held?.tls.notAfter && current?.seal.notAfter === held?.seal.notAfter) return;
    this.#held = current;
    const { anchor } = keys;
    this.#material = current && {
      identity: { chain: [...current.tls.chain, anchor], keyPem: current.tls.keyPem },
      anchors: [anchor],
    };
    this.#sealer.set(current && createSealer(current.seal));
    if (renewed) log.info({ notAfter: current?.tls.notAfter }, 'own identities renewed');
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #schedule(): void {
    if (!this.#closed) this.#timer = this.#options.clock.schedule(checkMs, () => void this.#turn());
  }

  async #turn(): Promise<void> {
    try {
      await this.refresh();
    } catch (thrown) {
      this.#options.log.error({ why: messageOf(thrown) }, 'cannot renew own identities');
    }
    this.#schedule();
  }
}
