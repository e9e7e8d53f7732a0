import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { IsthmusError } from '../../model/error.ts';
import type { KeyId } from '../../model/trust.ts';
import type { PublicJwk } from '../../wire/bundle.ts';
import type { Asn1 } from './der.ts';
import * as der from './der.ts';
import { oids } from './oids.ts';

/** Algorithms with which Isthmus signs; by their names in `oids`. */
export type SignatureAlgorithm = 'ecdsaSha256' | 'ecdsaSha384' | 'rsaSha256';

/** A private key that may only be used, never seen. A file, a token of PKCS#11 and a key service look alike. */
export interface Signer {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly keyId: KeyId;
  readonly algorithm: SignatureAlgorithm;
  /** By `algorithm`; ECDSA in DER. */
  sign(bytes: Uint8Array): Uint8Array;
}

interface Algorithm {
  readonly hash: string;
  readonly keyType: 'ec' | 'rsa';
}

/** SHA-1 and MD5 are missing on purpose. */
const algorithms: Readonly<Record<string, Algorithm>> = {
  [oids.ecdsaSha256]: { hash: 'sha256', keyType: 'ec' },
  [oids.ecdsaSha384]: { hash: 'sha384', keyType: 'ec' },
  [oids.ecdsaSha512]: { hash: 'sha512', keyType: 'ec' },
  [oids.rsaSha256]: { hash: 'sha256', keyType: 'rsa' },
  [oids.rsaSha384]: { hash: 'sha384', keyType: 'rsa' },
  [oids.rsaSha512]: { hash: 'sha512', keyType: 'rsa' },
};

/** The object identifier of an AlgorithmIdentifier. @throws IsthmusError `corrupt` */
export function readAlgorithm(what: string, value: Asn1 | undefined): string {
  const items = der.itemsOf(what, value);
  if (items.length > 2) throw new IsthmusError('corrupt', `${what} is malformed`);
  return der.readOid(what, items[0]);
}

/** Whether `signature` by `algorithm` (dotted OID) over `bytes` is of `key`. Never throws. */
export function verifySignature(key: KeyObject, algorithm: string, signed: Signed): boolean {
  const known = Object.hasOwn(algorithms, algorithm) ? algorithms[algorithm] : undefined;
  if (!known || key.asymmetricKeyType !== known.keyType) return false;
  try {
    return verify(known.hash, signed.bytes, { key, dsaEncoding: 'der' }, signed.signature);
  } catch {
    // OpenSSL throws for a signature that is not even well-formed.
    return false;
  }
}

export interface Signed {
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
}

/**
 * Reads a public key and says why it is unfit: P-256, P-384, RSA 2048 to 4096 bits with e = 65537 are fit.
 * @throws IsthmusError `invalid`
 */
export function readPublicKey(spki: Uint8Array): KeyObject {
  let key: KeyObject;
  try {
    // OpenSSL checks that a point is on its curve.
    key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new IsthmusError('invalid', 'A public key does not decode', { cause });
  }
  const { namedCurve, modulusLength, publicExponent } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'ec' && (namedCurve === 'prime256v1' || namedCurve === 'secp384r1')) return key;
  if (key.asymmetricKeyType === 'rsa' && publicExponent === 65_537n) {
    if (modulusLength !== undefined && modulusLength >= 2048 && modulusLength <= 4096) return key;
  }
  const what = `${key.asymmetricKeyType ?? 'unknown'} ${namedCurve ?? modulusLength ?? ''}`.trim();
  throw new IsthmusError('invalid', `A key must be P-256, P-384 or RSA 2048 to 4096 with e=65537: it is ${what}`);
}

/** A public key as a JWK (RFC 7518 §6.2, §6.3). @throws IsthmusError `invalid` for a key that is unfit */
export function publicJwkOf(spki: Uint8Array): PublicJwk {
  const { crv = '', e = '', n = '', x = '', y = '', kty } = readPublicKey(spki).export({ format: 'jwk' });
  return kty === 'RSA' ? { e, kty, n } : { crv, kty: 'EC', x, y };
}
