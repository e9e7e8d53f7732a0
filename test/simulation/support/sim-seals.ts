import { createHmac } from 'node:crypto';
import { parseSpiffeId } from '../../../src/model/identity.ts';
import type { Sealer, SealVerifier } from '../../../src/model/ports/seal.ts';
import { chainIdOf, decodeSeal, encodeSeal, type SealEnvelope, signedBytes } from '../../../src/wire/seal.ts';
import { domainOf } from '../../federation/support/seals.ts';

/** Quick seals in the real envelope: the chain is the domain itself, and whoever knows its name can sign. */
export function simSealer(cluster: string): Sealer {
  const domain = domainOf(cluster);
  const chain = Buffer.from(domain);
  const chainId = chainIdOf(chain);
  return {
    signer: parseSpiffeId(`spiffe://${domain}/isthmus/seal/a`),
    chainId,
    chain,
    seal: (kind, payload) => encodeSeal({ kind, chainId, payload, signature: mac(domain, signedBytes(kind, payload)) }),
  };
}

export function simVerifier(): SealVerifier {
  const known = new Map<string, string>();
  return {
    learn: (chainId, chain) => {
      if (chainIdOf(chain) !== chainId) return false;
      known.set(chainId, Buffer.from(chain).toString());
      return true;
    },
    verify: (kind, sealed, domain) => {
      const envelope = opened(sealed);
      if (!envelope) return { ok: false, reason: 'malformed', detail: 'it is no envelope' };
      const { chainId, payload, signature } = envelope;
      const signer = known.get(chainId);
      if (signer === undefined) return { ok: false, reason: 'unknown-chain', chainId, detail: 'not known yet' };
      if (signer !== domain) return { ok: false, reason: 'foreign-signer', detail: signer };
      if (!mac(domain, signedBytes(kind, payload)).equals(signature)) {
        return { ok: false, reason: 'bad-signature', detail: 'it does not verify' };
      }
      return { ok: true, payload, signer: parseSpiffeId(`spiffe://${domain}/isthmus/seal/a`), expired: false };
    },
  };
}

function opened(sealed: Uint8Array): SealEnvelope | undefined {
  try {
    return decodeSeal(sealed);
  } catch {
    return undefined;
  }
}

function mac(domain: string, bytes: Uint8Array): Buffer {
  return createHmac('sha256', domain).update(bytes).digest();
}
