import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../../model/error.ts';
import { authorityTrustDomain, type TrustDomain } from '../../model/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { SealVerifier } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import { type BundleCounters, BundleHolder, type BundleOffer, type Bundles } from '../bundle/bundle-holder.ts';
import { base64Bytes, StateFile, toBase64 } from './state-file.ts';

interface StoredBundles {
  readonly version: 1;
  readonly sealed: Uint8Array;
  /** PEM. */
  readonly chain: Uint8Array;
}

const storedBundles: z.ZodType<StoredBundles> = z.strictObject({
  version: z.literal(1),
  sealed: base64Bytes,
  chain: base64Bytes,
});

export interface OpenBundleStoreOptions {
  readonly stateDir: string;
  readonly federationDomain: TrustDomain;
  readonly verifier: SealVerifier;
  readonly log: Log;
}

/** The bundles of the federation as the authority sealed them, kept over a restart so that nobody can turn them back. */
export interface BundleStore {
  readonly bundles: Watch<Bundles>;
  /** Why the last offer was not taken; undefined: it was. */
  readonly problem: string | undefined;
  readonly counters: BundleCounters;
  /** Never throws. */
  offer(sealed: Uint8Array, chain: Uint8Array): BundleOffer;
  close(): Promise<void>;
}

/** Opens the store; what is on disk is verified like anything else. @throws IsthmusError `denied`, `corrupt` */
export async function openBundleStore(options: OpenBundleStoreOptions): Promise<BundleStore> {
  const { stateDir, federationDomain, verifier, log } = options;
  const file = new StateFile(join(stateDir, 'bundles.json'), storedBundles);
  const holder = new BundleHolder(verifier, authorityTrustDomain(federationDomain));
  const stored = await file.read();
  if (stored) {
    const offer = holder.offer(stored.sealed, stored.chain);
    if (offer.result !== 'accepted') log.error({ offer }, 'the bundles on disk do not verify');
  }
  return {
    bundles: holder.bundles,
    get problem(): string | undefined {
      return holder.problem;
    },
    get counters(): BundleCounters {
      return holder.counters;
    },
    offer(sealed, chain): BundleOffer {
      const offer = holder.offer(sealed, chain);
      if (offer.result === 'accepted') {
        log.info({ trustDomains: holder.bundles.current.size }, 'new bundles');
        file
          .write({ version: 1, sealed: toBase64(sealed), chain: toBase64(chain) })
          .catch((thrown: unknown) => log.error({ why: messageOf(thrown) }, 'cannot keep the bundles on disk'));
      } else if ('detail' in offer) {
        log.warn({ event: 'bundle-refused', result: offer.result, why: offer.detail }, 'bundles were not taken');
      }
      return offer;
    },
    close: () => file.settled(),
  };
}
