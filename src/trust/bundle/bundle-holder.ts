import { messageOf } from '../../model/error.ts';
import type { TrustDomain } from '../../model/identity.ts';
import type { SealVerifier } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { chainIdOf } from '../../wire/seal.ts';
import { bundleStep } from './bundle-rules.ts';
import { readBundleMap, type SpiffeBundle } from './spiffe-bundle.ts';

/** What became of a sealed bundle map that was offered. */
export type BundleOffer =
  | { readonly result: 'accepted' | 'known' }
  | { readonly result: 'older' | 'conflicting' | 'refused'; readonly detail: string };

/** How often each unwelcome thing happened: every one of them is worth an alarm. */
export interface BundleCounters {
  readonly older: number;
  readonly conflicting: number;
  readonly refused: number;
}

/** Bundles by trust domain. */
export type Bundles = ReadonlyMap<TrustDomain, SpiffeBundle>;

/**
 * Keeps the newest bundles that the authority sealed. A map is taken whole or not at all: one trust domain that would
 * go back, or say something else under the same sequence, refuses all of it. What a newer map leaves out is no longer
 * trusted, and its sequence stays remembered.
 */
export class BundleHolder {
  readonly #verifier: SealVerifier;
  readonly #authority: TrustDomain;
  readonly #bundles = new Watchable<Bundles>(new Map());
  /** The newest of every trust domain that was ever there; bounded by what one map may hold, times their turnover. */
  #newest: Bundles = new Map();
  #sealed: Buffer | undefined;
  #counters: BundleCounters = { older: 0, conflicting: 0, refused: 0 };
  #problem: string | undefined;

  /** @param authority trust domain of the only one who may seal bundles */
  constructor(verifier: SealVerifier, authority: TrustDomain) {
    this.#verifier = verifier;
    this.#authority = authority;
  }

  /** Empty until the first map. */
  get bundles(): Watch<Bundles> {
    return this.#bundles;
  }

  get counters(): BundleCounters {
    return this.#counters;
  }

  /** Why the last offer was not taken; undefined: it was. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Takes a sealed map if it verifies and nothing in it goes back. Never throws. */
  offer(sealed: Uint8Array, chain: Uint8Array): BundleOffer {
    if (this.#sealed?.equals(sealed)) return this.#settle({ result: 'known' });
    this.#verifier.learn(chainIdOf(chain), chain);
    const verdict = this.#verifier.verify('bundle', sealed, this.#authority);
    if (!verdict.ok) return this.#settle({ result: 'refused', detail: `${verdict.reason}: ${verdict.detail}` });
    let offered: Bundles;
    try {
      offered = readBundleMap(verdict.payload);
    } catch (thrown) {
      return this.#settle({ result: 'refused', detail: messageOf(thrown) });
    }
    const step = this.#compare(offered);
    if (step.result === 'accepted') {
      // A signer whose time has run out may confirm what was, and not say anything new.
      if (verdict.expired && this.#newest.size > 0) {
        return this.#settle({ result: 'refused', detail: `newer bundles were offered, but their signer expired` });
      }
      this.#newest = new Map([...this.#newest, ...offered]);
      this.#bundles.set(offered);
    }
    if ('detail' in step) return this.#settle(step);
    this.#sealed = Buffer.from(sealed);
    return this.#settle(step);
  }

  #compare(offered: Bundles): BundleOffer {
    let accepted = offered.size < this.#bundles.current.size || this.#newest.size === 0;
    for (const bundle of offered.values()) {
      const step = bundleStep(this.#newest.get(bundle.trustDomain), bundle);
      if ('detail' in step) return step;
      accepted ||= step.result === 'accepted';
    }
    return { result: accepted ? 'accepted' : 'known' };
  }

  #settle(offer: BundleOffer): BundleOffer {
    this.#problem = undefined;
    if ('detail' in offer) {
      this.#problem = offer.detail;
      this.#counters = { ...this.#counters, [offer.result]: this.#counters[offer.result] + 1 };
    }
    return offer;
  }
}
