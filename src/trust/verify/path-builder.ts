import type { Certificate } from '../x509/read.ts';
import { readPublicKey, verifySignature } from '../x509/signature.ts';
import type { BoundedMap } from './bounded-map.ts';
import { type Refusal, refuse } from './refusal.ts';
import { uriNames } from './svid-profile.ts';

/** Certificates of one chain that are looked at, the anchor included. */
export const maxChain = 6;
/** Signature checks that one chain may cost, whatever it looks like. */
const maxSignatureChecks = 12;
/** Which certificates are known to be signed by which, by their fingerprints: that never changes. */
export type KnownSignatures = BoundedMap<string, true>;

/** Ways to an anchor that are looked at. */
const maxPaths = 8;

/** What a path may be made of. */
export interface PathMaterial {
  /** As presented. */
  readonly others: readonly Certificate[];
  readonly anchors: readonly Certificate[];
  /** Spares checks that were made before. */
  readonly signatures: KnownSignatures | undefined;
}

/**
 * Finds the ways from a leaf to an anchor through what was presented, each certificate used once. There may be several:
 * an anchor that was renewed under the same key, a cross certificate beside the root it stands in for.
 */
export class PathBuilder {
  readonly #leaf: Certificate;
  readonly #others: readonly Certificate[];
  readonly #anchors: readonly Certificate[];
  readonly #known = new Map<string, boolean>();
  readonly #signatures: KnownSignatures | undefined;
  #badSignature = false;

  constructor(leaf: Certificate, { others, anchors, signatures }: PathMaterial) {
    this.#leaf = leaf;
    this.#anchors = anchors;
    this.#signatures = signatures;
    const known = new Set(anchors.map((anchor) => anchor.fingerprint));
    this.#others = others.filter((certificate) => !known.has(certificate.fingerprint));
  }

  /** Paths, each leaf first and anchor last; those without detours come first. */
  paths(): readonly (readonly Certificate[])[] {
    const found: (readonly Certificate[])[] = [];
    this.#extend([this.#leaf], found);
    return found;
  }

  /** Why there is no path. */
  problem(): Refusal {
    const who = uriNames(this.#leaf)[0] ?? 'leaf';
    if (this.#badSignature) return refuse('signature', `${who}: the signature of its issuer does not verify`, 'PV-2');
    return refuse('untrusted-issuer', `${who}: its issuer is no anchor`, 'XV-1');
  }

  #extend(path: readonly Certificate[], found: (readonly Certificate[])[]): void {
    const last = path.at(-1);
    if (!last || path.length >= maxChain) return;
    for (const anchor of this.#anchors) {
      if (found.length >= maxPaths) return;
      if (this.#issued(anchor, last)) found.push([...path, anchor]);
    }
    for (const candidate of this.#others) {
      if (!path.includes(candidate) && this.#issued(candidate, last)) this.#extend([...path, candidate], found);
    }
  }

  #issued(issuer: Certificate, subject: Certificate): boolean {
    if (!Buffer.from(issuer.subject).equals(subject.issuer)) return false;
    const { authorityKeyId } = subject;
    if (authorityKeyId !== undefined && issuer.subjectKeyId !== undefined && authorityKeyId !== issuer.subjectKeyId) {
      return false;
    }
    const pair = `${issuer.fingerprint} ${subject.fingerprint}`;
    const known = this.#known.get(pair) ?? this.#signatures?.get(pair);
    if (known !== undefined) return known;
    if (this.#known.size >= maxSignatureChecks) return false;
    const good = isSignedBy(issuer, subject);
    this.#known.set(pair, good);
    if (good) this.#signatures?.set(pair, true);
    else this.#badSignature = true;
    return good;
  }
}

function isSignedBy(issuer: Certificate, { signatureAlgorithm, signature, tbs }: Certificate): boolean {
  try {
    return verifySignature(readPublicKey(issuer.spki), signatureAlgorithm, { bytes: tbs, signature });
  } catch {
    // A key that is unfit signs nothing.
    return false;
  }
}
