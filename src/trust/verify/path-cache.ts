import type { TrustState } from '../../model/trust.ts';
import { BoundedMap } from './bounded-map.ts';
import type { IssuerBinding } from './issuer-binding.ts';
import { chainKey, type VerifiedPath, verifyPath } from './path.ts';
import type { Refusal } from './refusal.ts';

/** Chains remembered: all gateways of some hundred clusters, both seals and peers. */
const maxPaths = 4096;

/** Remembers what chains are worth under one trust state; another state starts from nothing. */
export class PathCache {
  readonly #paths = new BoundedMap<string, VerifiedPath | Refusal>(maxPaths);
  readonly #binding: IssuerBinding;
  #trust: TrustState | undefined;

  constructor(binding: IssuerBinding = 'roster') {
    this.#binding = binding;
  }

  verify(chain: readonly Uint8Array[], trust: TrustState): VerifiedPath | Refusal {
    if (trust !== this.#trust) {
      this.#paths.clear();
      this.#trust = trust;
    }
    const key = chainKey(chain);
    const known = this.#paths.get(key);
    if (known) return known;
    const path = verifyPath(chain, trust, this.#binding);
    this.#paths.set(key, path);
    return path;
  }
}
