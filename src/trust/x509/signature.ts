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

interface EcPrefixes {
  readonly p256: Buffer;
  readonly p384: Buffer;
}

/** A SubjectPublicKeyInfo of an elliptic curve up to its point: the same bytes for every key (RFC 5480 §2). */
const ecPrefixes: EcPrefixes = {
  p256: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex'),
  p384: Buffer.from('3076301006072a8648ce3d020106052b8104002203620004', 'hex'),
};

/** The curve of a key with an uncompressed point; undefined for every other key. */
export function curveOf(spki: Uint8Array): keyof EcPrefixes | undefined {
  const begins = (prefix: Buffer): boolean => prefix.equals(spki.subarray(0, prefix.length));
  return begins(ecPrefixes.p256) ? 'p256' : begins(ecPrefixes.p384) ? 'p384' : undefined;
}

/** Types of the keys that were read here: asking a key itself costs as much as a good part of a signature. */
const keyTypes = new WeakMap<KeyObject, Algorithm['keyType']>();

/** Whether `signature` by `algorithm` (dotted OID) over `bytes` is of `key`. Never throws. */
export function verifySignature(key: KeyObject, algorithm: string, signed: Signed): boolean {
  const hash = hashFor(key, algorithm);
  if (hash === undefined) return false;
  try {
    // The key itself, not in an object with options: that costs a fifth of a verification more. ECDSA is DER by default.
    return verify(hash, signed.bytes, key, signed.signature);
  } catch {
    // OpenSSL throws for a signature that is not even well-formed.
    return false;
  }
}

/** The same in a thread of its own: for many at once, which would keep everything else waiting. Never rejects. */
export function verifySignatureAside(key: KeyObject, algorithm: string, signed: Signed): Promise<boolean> {
  const hash = hashFor(key, algorithm);
  if (hash === undefined) return Promise.resolve(false);
  return new Promise((resolve) => {
    verify(hash, signed.bytes, key, signed.signature, (failed, good) => resolve(!failed && good));
  });
}

/** Undefined: this algorithm is unknown, or not one for such a key. */
function hashFor(key: KeyObject, algorithm: string): string | undefined {
  const known = Object.hasOwn(algorithms, algorithm) ? algorithms[algorithm] : undefined;
  return known && (keyTypes.get(key) ?? key.asymmetricKeyType) === known.keyType ? known.hash : undefined;
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
    key = createPublicKey(curveOf(spki) ? pemOf(spki) : { key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new IsthmusError('invalid', 'A public key does not decode', { cause });
  }
  if (curveOf(spki) !== undefined) {
    keyTypes.set(key, 'ec');
    return key;
  }
  const { namedCurve, modulusLength, publicExponent } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'ec' && (namedCurve === 'prime256v1' || namedCurve === 'secp384r1')) return key;
  if (key.asymmetricKeyType === 'rsa' && publicExponent === 65_537n) {
    if (modulusLength !== undefined && modulusLength >= 2048 && modulusLength <= 4096) return key;
  }
  const what = `${key.asymmetricKeyType ?? 'unknown'} ${namedCurve ?? modulusLength ?? ''}`.trim();
  throw new IsthmusError('invalid', `A key must be P-256, P-384 or RSA 2048 to 4096 with e=65537: it is ${what}`);
}

/** PEM on one line, which OpenSSL reads for a key this short; Node takes text at half the cost of an object. */
function pemOf(spki: Uint8Array): string {
  return `-----BEGIN PUBLIC KEY-----\n${Buffer.from(spki).toString('base64')}\n-----END PUBLIC KEY-----\n`;
}

/** A public key as a JWK (RFC 7518 §6.2, §6.3). @throws IsthmusError `invalid` for a key that is unfit */
export function publicJwkOf(spki: Uint8Array): PublicJwk {
  const { crv = '', e = '', n = '', x = '', y = '', kty } = readPublicKey(spki).export({ format: 'jwk' });
  return kty === 'RSA' ? { e, kty, n } : { crv, kty: 'EC', x, y };
}
