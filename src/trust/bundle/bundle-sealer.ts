import type { TrustSource } from '../../model/ports/identity.ts';
import type { Sealer } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { encodeBundleMap } from '../../wire/bundle.ts';
import { publishedBundles } from './published.ts';

/** The bundle map as it leaves the authority. */
export interface SealedBundles {
  readonly sealed: Uint8Array;
  /** PEM chain of the signer. */
  readonly chain: Uint8Array;
}

export interface BundleSealer {
  /** Undefined until there are a roster and a seal leaf. */
  readonly bundles: Watch<SealedBundles | undefined>;
  close(): void;
}

/** Seals the bundles of all members anew whenever the trust or the seal leaf changes. */
export function sealBundles(trust: TrustSource, sealer: Watch<Sealer | undefined>): BundleSealer {
  const seal = (): SealedBundles | undefined => {
    const { current: signer } = sealer;
    if (!trust.current || !signer) return undefined;
    const payload = encodeBundleMap(publishedBundles(trust.current));
    return { sealed: signer.seal('bundle', payload), chain: signer.chain };
  };
  const bundles = new Watchable(seal());
  const ends = [trust.subscribe(() => bundles.set(seal())), sealer.subscribe(() => bundles.set(seal()))];
  return {
    bundles,
    close(): void {
      for (const end of ends) end();
    },
  };
}
