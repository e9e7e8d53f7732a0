import type { KeyObject } from 'node:crypto';
import { messageOf } from '../../model/error.ts';
import { roleOf, type SpiffeId, type TrustDomain, trustDomainOf } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { TrustSource } from '../../model/ports/identity.ts';
import type { SealKind, SealVerdict, SealVerifier } from '../../model/ports/seal.ts';
import { chainIdOf, decodeSeal, type SealEnvelope, signedBytes } from '../../wire/seal.ts';
import { oids } from '../x509/oids.ts';
import { decodePemChain } from '../x509/pem.ts';
import { readPublicKey, verifySignature } from '../x509/signature.ts';
import { BoundedMap } from './bounded-map.ts';
import { checkTime, type VerifiedPath } from './path.ts';
import { PathCache } from './path-cache.ts';
import { authoritySealId } from './seal-id.ts';

/** Chains remembered until they are asked for again: some per agent replica. */
const maxChains = 4096;

type SealRefusal = Extract<SealVerdict, { readonly ok: false }>;

function refuse(reason: Exclude<SealRefusal['reason'], 'unknown-chain'>, detail: string): SealRefusal {
  return { ok: false, reason, detail };
}

/** The verifier of everything that comes out of a hub. Never throws. */
export function createSealVerifier(trust: TrustSource, clock: Pick<Clock, 'now'>): SealVerifier {
  const chains = new BoundedMap<string, readonly Uint8Array[]>(maxChains);
  const paths = new PathCache();
  return {
    learn(chainId, chain): boolean {
      if (chainIdOf(chain) !== chainId) return false;
      try {
        chains.set(chainId, decodePemChain(chain));
        return true;
      } catch {
        // `false` is the answer that the port defines for a chain that does not parse.
        return false;
      }
    },
    verify(kind, sealed, domain): SealVerdict {
      const state = trust.current;
      if (!state) return refuse('distrusted', 'nothing is trusted yet: there is no roster');
      let envelope: SealEnvelope;
      try {
        envelope = decodeSeal(sealed);
      } catch (thrown) {
        return refuse('malformed', messageOf(thrown));
      }
      if (envelope.kind !== kind) return refuse('malformed', `it is a sealed ${envelope.kind}, not a ${kind}`);
      const chain = chains.get(envelope.chainId);
      if (!chain) {
        const { chainId } = envelope;
        return { ok: false, reason: 'unknown-chain', chainId, detail: `chain ${chainId} is not known yet` };
      }
      const path = paths.verify(chain, state);
      if (!path.ok) return refuse('distrusted', `${path.reason}: ${path.detail}`);
      return judge(path, envelope, {
        domain,
        kind,
        now: clock.now(),
        authority: authoritySealId(state.federationDomain),
      });
    },
  };
}

/** Keys of leaves that remembered paths end with: reading one costs as much as verifying with it. */
const keys = new WeakMap<Uint8Array, KeyObject>();

function keyOf(spki: Uint8Array): KeyObject {
  const known = keys.get(spki) ?? readPublicKey(spki);
  keys.set(spki, known);
  return known;
}

interface Expected {
  readonly domain: TrustDomain;
  readonly kind: SealKind;
  /** The only id that seals for the authority. */
  readonly authority: SpiffeId;
  /** Wall clock in ms. */
  readonly now: number;
}

function judge(path: VerifiedPath, envelope: SealEnvelope, { domain, kind, now, authority }: Expected): SealVerdict {
  const { id, leaf } = path;
  if (trustDomainOf(id) !== domain) return refuse('foreign-signer', `${id} does not speak for ${domain}`);
  if (roleOf(id)?.role !== 'seal' || (path.cluster === undefined && id !== authority))
    return refuse('foreign-signer', `${id} may not seal`);
  const early = now < path.notBefore ? checkTime(path, now) : undefined;
  if (early) return refuse('distrusted', early.detail);
  const signed = { bytes: signedBytes(kind, envelope.payload), signature: envelope.signature };
  if (!verifySignature(keyOf(leaf.spki), oids.ecdsaSha256, signed)) {
    return refuse('bad-signature', `the signature of ${id} does not verify`);
  }
  return { ok: true, payload: envelope.payload, signer: id, expired: checkTime(path, now) !== undefined };
}
