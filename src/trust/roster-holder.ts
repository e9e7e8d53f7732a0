import { messageOf } from '../model/error.ts';
import { authorityTrustDomain, type TrustDomain } from '../model/identity.ts';
import type { Clock } from '../model/ports/clock.ts';
import type { TrustSource } from '../model/ports/identity.ts';
import type { Watch } from '../model/ports/watch.ts';
import type { Roster, TrustState } from '../model/trust.ts';
import { Watchable } from '../runtime/watchable.ts';
import { decodeRoster } from '../wire/roster.ts';
import { chainIdOf } from '../wire/seal.ts';
import type { TrustUpdate } from '../wire/trust-update.ts';
import { createSealVerifier } from './verify/seal-verifier.ts';
import { initialTrust, trustStateOf } from './verify/trust-state.ts';

/** What became of a roster that was offered. */
export type RosterOffer =
  | { readonly result: 'accepted' | 'known' }
  | {
      /** `older`: a lower sequence; `conflicting`: the same sequence with other contents; `refused`: not verified. */
      readonly result: 'older' | 'conflicting' | 'refused';
      readonly detail: string;
    };

/** How often each unwelcome thing happened: every one of them is worth an alarm. */
export interface RosterCounters {
  readonly older: number;
  readonly conflicting: number;
  readonly refused: number;
}

export interface RosterHolderOptions {
  readonly federationDomain: TrustDomain;
  /** DER. */
  readonly anchors: readonly Uint8Array[];
  readonly clock: Pick<Clock, 'now'>;
  /** This process's own trust domain, so that its agent can be recognised before there is a roster. */
  readonly own?: TrustDomain;
}

/** Keeps the newest verified roster, wherever it comes from, and what follows from it. */
export class RosterHolder {
  readonly #options: RosterHolderOptions;
  readonly #trust = new Watchable<TrustState | undefined>(undefined);
  readonly #base: Watchable<TrustState | undefined>;
  readonly #update = new Watchable<TrustUpdate | undefined>(undefined);
  readonly #seals: ReturnType<typeof createSealVerifier>;
  #payload: Buffer | undefined;
  #counters: RosterCounters = { older: 0, conflicting: 0, refused: 0 };

  constructor(options: RosterHolderOptions) {
    this.#options = options;
    this.#base = new Watchable<TrustState | undefined>(
      initialTrust(options.federationDomain, options.anchors, options.own),
    );
    this.#seals = createSealVerifier(this.#base, options.clock);
  }

  /** Undefined until the first roster. */
  get trust(): TrustSource {
    return this.#trust;
  }

  /** Like `trust`, but before the first roster it is the anchors alone. */
  get base(): TrustSource {
    return this.#base;
  }

  /** The roster as it was sealed, to be handed on. */
  get update(): Watch<TrustUpdate | undefined> {
    return this.#update;
  }

  get roster(): Roster | undefined {
    return this.#trust.current?.roster;
  }

  get counters(): RosterCounters {
    return this.#counters;
  }

  /** Takes a sealed roster if it verifies and is newer than what is held. Never throws. */
  offer(sealed: Uint8Array, chain: Uint8Array): RosterOffer {
    const { federationDomain, anchors } = this.#options;
    this.#seals.learn(chainIdOf(chain), chain);
    const verdict = this.#seals.verify('roster', sealed, authorityTrustDomain(federationDomain));
    if (!verdict.ok) return this.#count('refused', `${verdict.reason}: ${verdict.detail}`);
    const payload = Buffer.from(verdict.payload);
    if (this.#payload?.equals(payload)) return { result: 'known' };
    let roster: Roster;
    try {
      roster = decodeRoster(payload);
    } catch (thrown) {
      return this.#count('refused', messageOf(thrown));
    }
    if (roster.federationDomain !== federationDomain) {
      return this.#count('refused', `it is the roster of ${roster.federationDomain}, not ${federationDomain}`);
    }
    const held = this.roster?.sequence;
    if (held !== undefined) {
      const numbers = `sequence ${roster.sequence} was offered, ${held} is held`;
      if (roster.sequence < held) return this.#count('older', numbers);
      if (roster.sequence === held) return this.#count('conflicting', `${numbers}, with other contents`);
      // A signer whose time has run out may confirm what was, and not say anything new.
      if (verdict.expired) return this.#count('refused', `${numbers}, but its signer expired`);
    }
    this.#payload = payload;
    const trust = trustStateOf(roster, anchors);
    this.#base.set(trust);
    this.#update.set({ sealedRoster: sealed, rosterChain: chain, anchors });
    this.#trust.set(trust);
    return { result: 'accepted' };
  }

  #count(result: keyof RosterCounters, detail: string): RosterOffer {
    this.#counters = { ...this.#counters, [result]: this.#counters[result] + 1 };
    return { result, detail };
  }
}
