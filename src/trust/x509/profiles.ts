const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** The kinds of certificate that Isthmus issues. */
export type ProfileName = 'root' | 'authority' | 'intermediate' | 'seal' | 'leaf';

/** Bits of keyUsage by their number (RFC 5280 §4.2.1.3). */
export const keyUsageBits = { digitalSignature: 0, keyCertSign: 5, cRLSign: 6 } as const;
export type KeyUsageName = keyof typeof keyUsageBits;

/** What a certificate of one kind says, whatever its requester asked for. */
export interface Profile {
  /** Undefined: cA = false. */
  readonly pathLen: number | undefined;
  readonly keyUsage: readonly KeyUsageName[];
  /** serverAuth and clientAuth, or no extension at all. */
  readonly extKeyUsage: boolean;
  /** Longest life in ms; a certificate ends with its issuer if that is sooner. */
  readonly maxLifeMs: number;
  /** Life in ms when nobody asked for another. */
  readonly lifeMs: number;
}

const ca: readonly KeyUsageName[] = ['keyCertSign', 'cRLSign'];

/**
 * All profiles in one table. The root's pathLen of 2 leaves room for the cross certificate of a root rotation; a root
 * never has name constraints, for they would break that cross certificate.
 */
export const profiles: Readonly<Record<ProfileName, Profile>> = {
  root: { pathLen: 2, keyUsage: ca, extKeyUsage: false, maxLifeMs: 3653 * dayMs, lifeMs: 3653 * dayMs },
  authority: {
    pathLen: undefined,
    keyUsage: ['digitalSignature'],
    extKeyUsage: true,
    maxLifeMs: 90 * dayMs,
    lifeMs: 90 * dayMs,
  },
  intermediate: { pathLen: 0, keyUsage: ca, extKeyUsage: false, maxLifeMs: 90 * dayMs, lifeMs: 60 * dayMs },
  seal: {
    pathLen: undefined,
    keyUsage: ['digitalSignature'],
    extKeyUsage: false,
    maxLifeMs: 30 * dayMs,
    lifeMs: 30 * dayMs,
  },
  leaf: {
    pathLen: undefined,
    keyUsage: ['digitalSignature'],
    extKeyUsage: true,
    maxLifeMs: 24 * hourMs,
    lifeMs: 12 * hourMs,
  },
};

/** Start of every certificate before its issuing, in ms: clocks differ. */
export const backdateMs = 60_000;

export interface Validity {
  /** Wall clock in ms, whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * Life of a certificate issued at `now` (wall clock in ms): back-dated, clamped to the profile, and never past
 * `issuerNotAfter`.
 */
export function validityOf(profile: ProfileName, now: number, limits: ValidityLimits): Validity {
  const { maxLifeMs, lifeMs } = profiles[profile];
  const wanted = now + Math.min(maxLifeMs, limits.lifeMs ?? lifeMs);
  const wholeSeconds = (at: number): number => Math.floor(at / 1000) * 1000;
  return {
    notBefore: wholeSeconds(now - backdateMs),
    notAfter: wholeSeconds(Math.min(wanted, limits.issuerNotAfter)),
  };
}

export interface ValidityLimits {
  /** Wall clock in ms; `Infinity` for a self-signed certificate. */
  readonly issuerNotAfter: number;
  /** Asked-for life in ms. */
  readonly lifeMs?: number;
}
