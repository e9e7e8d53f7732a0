import type { KeyObject } from 'node:crypto';
import { IsthmusError } from '../../model/error.ts';
import * as der from './der.ts';
import {
  curveOf,
  readAlgorithm,
  readPublicKey,
  type Signed,
  verifySignature,
  verifySignatureAside,
} from './signature.ts';

/** The part of a PKCS#10 request to be signed: the key and nothing else, for nothing else would be used. */
export function encodeCsrInfo(spki: Uint8Array): Uint8Array {
  return der.encodeDer(
    der.sequence(der.integer(Uint8Array.of(0)), der.sequence(), der.decodeOwnDer(spki), der.explicit(0)),
  );
}

/** What is used of a request: its key. Names, extensions and other attributes are the issuer's to decide. */
export interface Csr {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly keyType: 'p256' | 'p384' | 'rsa';
}

/** A request that has not proved possession of its key yet. */
export interface UnprovenCsr extends Csr {
  readonly key: KeyObject;
  readonly algorithm: string;
  readonly signed: Signed;
}

/**
 * Reads a request of others, in the order of cost: size, canonical DER, key type, proof of possession.
 * @throws IsthmusError `invalid`, naming the rule
 */
export function parseCsr(bytes: Uint8Array): Csr {
  const { spki, keyType, key, algorithm, signed } = readCsr(bytes);
  if (!verifySignature(key, algorithm, signed)) throw notProved();
  return { spki, keyType };
}

/** That whoever made a request has its key; in a thread of its own. @throws IsthmusError `invalid` */
export async function proveCsr({ key, algorithm, signed }: UnprovenCsr): Promise<void> {
  if (!(await verifySignatureAside(key, algorithm, signed))) throw notProved();
}

function notProved(): IsthmusError {
  return new IsthmusError('invalid', 'A certificate request is refused: it does not prove possession of its key');
}

/** As `parseCsr`, all but the proof of possession. @throws IsthmusError `invalid`, naming the rule */
export function readCsr(bytes: Uint8Array): UnprovenCsr {
  let parts: RequestParts;
  try {
    parts = takeApart(bytes);
  } catch (cause) {
    throw new IsthmusError('invalid', `A certificate request is refused: ${IsthmusError.from(cause).message}`, {
      cause,
    });
  }
  const { spki, algorithm, info, signature } = parts;
  const key = readPublicKey(spki);
  const curve = curveOf(spki);
  if (curve === undefined && key.asymmetricKeyType === 'ec') {
    // Another spelling of the same key would have another key id.
    throw new IsthmusError('invalid', 'A certificate request is refused: the point of its key is compressed');
  }
  return { spki, keyType: curve ?? 'rsa', key, algorithm, signed: { bytes: info, signature } };
}

interface RequestParts {
  readonly info: Uint8Array;
  readonly spki: Uint8Array;
  readonly algorithm: string;
  readonly signature: Uint8Array;
}

function takeApart(bytes: Uint8Array): RequestParts {
  const what = 'A CertificationRequest';
  const outer = der.itemsOf(what, der.decodeDer(what, bytes));
  const [info, algorithm, signature] = outer;
  const fields = der.itemsOf('CertificationRequestInfo', info);
  const [version, subject, spki, attributes] = fields;
  if (outer.length !== 3 || fields.length !== 4 || info === undefined || spki === undefined) {
    throw new IsthmusError('corrupt', `${what} has missing or extra fields`);
  }
  if (der.readSmallInteger('version', version) !== 0) throw new IsthmusError('corrupt', `${what} is not of version 1`);
  der.itemsOf('subject', subject);
  if (!der.taggedItems(attributes, 0)) throw new IsthmusError('corrupt', `${what} has malformed attributes`);
  const { bytes: signatureBytes, unusedBits } = der.readBits('signature', signature);
  if (unusedBits !== 0) throw new IsthmusError('corrupt', `${what} has a malformed signature`);
  return {
    info: der.encodeDer(info),
    spki: der.encodeDer(spki),
    algorithm: readAlgorithm('signatureAlgorithm', algorithm),
    signature: signatureBytes,
  };
}
