import { IsthmusError } from '../../model/error.ts';
import type { SpiffeId } from '../../model/identity.ts';
import type { KeyId } from '../../model/trust.ts';
import { keyIdOf } from '../x509/certificate.ts';
import { type Csr, proveCsr, readCsr } from '../x509/csr.ts';
import { maxDerBytes } from '../x509/der.ts';
import type { RequestKind, RequestLimiter } from './request-limiter.ts';

/** Lives that an issuer grants, in ms. */
export interface LifeRule {
  readonly minMs: number;
  readonly maxMs: number;
}

export interface CsrGateOptions {
  readonly limiter: RequestLimiter;
  readonly keyTypes: readonly Csr['keyType'][];
  /** Why this key may not be certified for this id; undefined: it may. */
  readonly keyProblem: (keyId: KeyId, id: SpiffeId) => string | undefined;
  readonly life: LifeRule;
}

/** A request of a caller that has been authenticated already. */
export interface GateRequest {
  /** PKCS#10 DER as it came. */
  readonly csr: Uint8Array;
  /** Who asks, for the rate: its SPIFFE ID, or what its token is for. */
  readonly identity: string;
  readonly kind: RequestKind;
  /** Computes the id to certify from what the caller proved; never from the request. May throw. */
  readonly idOf: () => SpiffeId;
  /** Asked-for life in ms; undefined: the longest. */
  readonly lifeMs?: number;
  /** Monotonic ms. */
  readonly now: number;
}

/** What may be issued. Nothing else of the request is used: no name, extension or algorithm. */
export interface Admitted {
  readonly id: SpiffeId;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly keyId: KeyId;
  readonly lifeMs: number;
}

/**
 * The one way from a certificate request to a certificate, in the order of what each step costs us: size, rate,
 * canonical DER, key type, proof of possession, id, key reuse, life.
 */
export class CsrGate {
  readonly #options: CsrGateOptions;

  constructor(options: CsrGateOptions) {
    this.#options = options;
  }

  /** @throws IsthmusError `invalid`, `exhausted`, `denied`, naming the rule */
  async admit({ csr, identity, kind, idOf, lifeMs, now }: GateRequest): Promise<Admitted> {
    const { limiter, keyTypes, keyProblem, life } = this.#options;
    if (csr.length > maxDerBytes) {
      throw refusal('invalid', `${csr.length} bytes are over the limit of ${maxDerBytes}`);
    }
    limiter.admit(identity, kind, now);
    const claimed = readCsr(csr);
    const { spki, keyType } = claimed;
    if (!keyTypes.includes(keyType)) {
      throw refusal('invalid', `its key must be ${keyTypes.join(', ')}: it is ${keyType}`);
    }
    await proveCsr(claimed);
    const id = idOf();
    const keyId = keyIdOf(spki);
    const problem = keyProblem(keyId, id);
    if (problem !== undefined) throw refusal('denied', problem);
    return { id, spki, keyId, lifeMs: clampLife(lifeMs, life) };
  }
}

function refusal(code: 'invalid' | 'denied', why: string): IsthmusError {
  return new IsthmusError(code, `A certificate request is refused: ${why}`);
}

/** What was asked for within what is granted; nothing sensible asked for: the longest. */
export function clampLife(askedMs: number | undefined, { minMs, maxMs }: LifeRule): number {
  if (askedMs === undefined || !(askedMs > 0)) return maxMs;
  return Math.min(maxMs, Math.max(minMs, askedMs));
}
