import type { TrustState } from '../../model/trust.ts';
import { BoundedMap } from './bounded-map.ts';
import type { IssuerBinding } from './issuer-binding.ts';
import { chainKey, type VerifiedPath, verifyPath } from './path.ts';
import type { KnownSignatures } from './path-builder.ts';
import type { Refusal } from './refusal.ts';

/** Chains remembered: all gateways of some hundred clusters, both seals and peers. */
const maxPaths = 4096;

/** Signatures remembered: leaf and intermediate of as many chains. */
const maxSignatures = 2 * maxPaths;

/**
 * Remembers what chains are worth under one trust state. Another state judges them anew, but for the signatures: those do
 * not depend on whom one trusts, and are most of the work when a new roster comes.
 */
export class PathCache {
  readonly #paths = new BoundedMap<string, VerifiedPath | Refusal>(maxPaths);
  readonly #binding: IssuerBinding;
  readonly #signatures: KnownSignatures = new BoundedMap<string, true>(maxSignatures);
  /** Of chains that are asked about again and again: those of open connections. */
  readonly #keys = new WeakMap<readonly Uint8Array[], string>();
  #trust: TrustState | undefined;

  constructor(binding: IssuerBinding = 'roster') {
    this.#binding = binding;
  }

  verify(chain: readonly Uint8Array[], trust: TrustState): VerifiedPath | Refusal {
    if (trust !== this.#trust) {
      this.#paths.clear();
      this.#trust = trust;
    }
    const key = this.#keys.get(chain) ?? chainKey(chain);
    this.#keys.set(chain, key);
    const known = this.#paths.get(key);
    if (known) return known;
    const path = verifyPath(chain, trust, { binding: this.#binding, signatures: this.#signatures });
    this.#paths.set(key, path);
    return path;
  }
}
