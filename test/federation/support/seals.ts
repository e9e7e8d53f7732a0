import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { parseSpiffeId, parseTrustDomain, type TrustDomain } from '../../../src/model/identity.ts';
import type { Sealer, SealKind, SealVerdict, SealVerifier } from '../../../src/model/ports/seal.ts';
import { chainIdOf, decodeSeal, encodeSeal, signedBytes } from '../../../src/wire/seal.ts';

/**
 * Seals with real keys in the real envelope; a chain is just JSON of the signer's trust domain and public key, and this
 * object is the authority that says which chains are good.
 */
export class TestSeals {
  readonly #good = new Set<string>();
  readonly #expired = new Set<string>();

  sealer(cluster: string): Sealer {
    const sealer = this.forged(cluster);
    this.#good.add(sealer.chainId);
    return sealer;
  }

  /** Looks right but is no chain of ours. */
  forged(cluster: string): Sealer {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const domain = domainOf(cluster);
    const chain = Buffer.from(JSON.stringify({ domain, key: publicKey.export({ type: 'spki', format: 'pem' }) }));
    const chainId = chainIdOf(chain);
    return {
      signer: parseSpiffeId(`spiffe://${domain}/isthmus/seal/a`),
      chainId,
      chain,
      seal: (kind: SealKind, payload: Uint8Array) =>
        encodeSeal({ kind, chainId, payload, signature: sign('sha256', signedBytes(kind, payload), privateKey) }),
    };
  }

  distrust(sealer: Sealer): void {
    this.#good.delete(sealer.chainId);
  }

  expire(sealer: Sealer): void {
    this.#expired.add(sealer.chainId);
  }

  verifier(): SealVerifier {
    const known = new Map<string, { readonly domain: string; readonly key: string }>();
    return {
      learn: (chainId, chain) => {
        if (chainIdOf(chain) !== chainId) return false;
        known.set(chainId, JSON.parse(Buffer.from(chain).toString()));
        return true;
      },
      verify: (kind, sealed, domain): SealVerdict => {
        try {
          const envelope = decodeSeal(sealed);
          const { chainId, signature, payload } = envelope;
          const chain = known.get(chainId);
          if (!chain) return { ok: false, reason: 'unknown-chain', chainId, detail: 'chain is not known' };
          if (envelope.kind !== kind) return { ok: false, reason: 'malformed', detail: `it is a ${envelope.kind}` };
          if (!verify('sha256', signedBytes(kind, payload), chain.key, signature)) {
            return { ok: false, reason: 'bad-signature', detail: 'signature does not verify' };
          }
          if (chain.domain !== domain)
            return { ok: false, reason: 'foreign-signer', detail: `signed by ${chain.domain}` };
          if (!this.#good.has(chainId)) return { ok: false, reason: 'distrusted', detail: 'chain is not trusted' };
          const signer = parseSpiffeId(`spiffe://${chain.domain}/isthmus/seal/a`);
          return { ok: true, payload, signer, expired: this.#expired.has(chainId) };
        } catch (thrown) {
          return { ok: false, reason: 'malformed', detail: String(thrown) };
        }
      },
    };
  }
}

export function domainOf(cluster: string): TrustDomain {
  return parseTrustDomain(`${cluster}.mesh.example`);
}
