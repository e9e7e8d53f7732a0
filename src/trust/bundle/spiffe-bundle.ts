import { createHash } from 'node:crypto';
import { messageOf } from '../../model/error.ts';
import type { TrustDomain } from '../../model/identity.ts';
import {
  type BundleDocument,
  decodeBundle,
  decodeBundleMap,
  type IgnoredKey,
  type PublicJwk,
  type X509Key,
} from '../../wire/bundle.ts';
import { fingerprintOf, readCertificate } from '../x509/read.ts';
import { publicJwkOf } from '../x509/signature.ts';

/** The bundle of one trust domain, every rule of its certificates applied. */
export interface SpiffeBundle {
  readonly trustDomain: TrustDomain;
  readonly sequence: bigint | undefined;
  /** In ms; undefined: it says nothing, and readers ask every five minutes. */
  readonly refreshHintMs: number | undefined;
  /** DER of CA certificates. Empty: nothing of this trust domain is trusted, whatever was held before. */
  readonly anchors: readonly Uint8Array[];
  readonly jwtKeyIds: readonly string[];
  /** Elements that count for nothing, and why. */
  readonly ignored: readonly IgnoredKey[];
  /** Equal for equal sets of keys, in whatever order: hex SHA-256. */
  readonly contents: string;
}

/** @throws IsthmusError `corrupt` */
export function readBundle(trustDomain: TrustDomain, bytes: Uint8Array): SpiffeBundle {
  return judge(trustDomain, decodeBundle(bytes));
}

/** All or nothing. @throws IsthmusError `corrupt` */
export function readBundleMap(bytes: Uint8Array): ReadonlyMap<TrustDomain, SpiffeBundle> {
  return new Map([...decodeBundleMap(bytes)].map(([domain, document]) => [domain, judge(domain, document)]));
}

/** Anchors from elsewhere, such as a PEM file, judged like those of a bundle. @throws IsthmusError `corrupt` */
export function anchorsAsBundle(trustDomain: TrustDomain, anchors: readonly Uint8Array[]): SpiffeBundle {
  const x509Keys = anchors.map((anchor, index) => ({ ...x509KeyOf(anchor), index }));
  return judge(trustDomain, { sequence: undefined, refreshHintMs: undefined, x509Keys, jwtKeys: [], ignored: [] });
}

/** The element of a bundle for an anchor. @throws IsthmusError `corrupt`, `invalid` */
export function x509KeyOf(certificate: Uint8Array): X509Key {
  return { certificate, jwk: publicJwkOf(readCertificate(certificate).spki) };
}

function judge(trustDomain: TrustDomain, document: BundleDocument): SpiffeBundle {
  const ignored = [...document.ignored];
  const anchors: Uint8Array[] = [];
  for (const key of document.x509Keys) {
    const problem = problemOf(key);
    if (problem === undefined) anchors.push(key.certificate);
    else ignored.push({ index: key.index, why: problem });
  }
  const { sequence, refreshHintMs, jwtKeys } = document;
  const keys = [
    ...anchors.map((certificate) => `x509-svid ${fingerprintOf(certificate)}`),
    ...jwtKeys.map(({ kid, jwk }) => `jwt-svid ${JSON.stringify([kid, jwk])}`),
  ];
  return {
    trustDomain,
    sequence,
    refreshHintMs,
    anchors,
    jwtKeyIds: jwtKeys.map(({ kid }) => kid),
    ignored,
    contents: createHash('sha256')
      .update([...new Set(keys)].sort().join('\n'))
      .digest('hex'),
  };
}

/** Why the certificate of a key is no anchor; undefined: it is one. */
function problemOf({ certificate, jwk }: X509Key): string | undefined {
  try {
    const read = readCertificate(certificate);
    if (!read.basicConstraints?.ca) return 'its certificate is no CA';
    return sameKey(publicJwkOf(read.spki), jwk) ? undefined : 'its members are not the key of its certificate';
  } catch (thrown) {
    return messageOf(thrown);
  }
}

function sameKey(a: PublicJwk, b: PublicJwk): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
