import { isSealId } from './seal-id.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { PeerVerifier, TrustSource } from '../../model/ports/identity.ts';
import type { PeerVerdict } from '../../model/trust.ts';
import type { IssuerBinding } from './issuer-binding.ts';
import { checkTime } from './path.ts';
import { PathCache } from './path-cache.ts';
import { refuse } from './refusal.ts';

export interface PeerVerifierOptions {
  /** Default `roster`. */
  readonly binding?: IssuerBinding;
}

/**
 * The verifier of TLS peers. Every rule of `verifyPath`, the time, and: a seal leaf is no peer, since it is used for
 * nothing but seals. Never throws.
 */
export function createPeerVerifier(
  trust: TrustSource,
  clock: Pick<Clock, 'now'>,
  options: PeerVerifierOptions = {},
): PeerVerifier {
  const cache = new PathCache(options.binding);
  return {
    verify(chain): PeerVerdict {
      const state = trust.current;
      if (!state) return refuse('unknown-trust-domain', 'nothing is trusted yet: there is no roster');
      const path = cache.verify(chain, state);
      if (!path.ok) return path;
      if (isSealId(path.id)) return refuse('profile', `${path.id} seals records and is no peer`, 'IS-5');
      return checkTime(path, clock.now()) ?? { ok: true, id: path.id, cluster: path.cluster, notAfter: path.notAfter };
    },
  };
}
