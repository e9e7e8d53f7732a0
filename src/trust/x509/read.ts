import { createHash } from 'node:crypto';
import { IsthmusError } from '../../model/error.ts';
import type { KeyId } from '../../model/trust.ts';
import * as der from './der.ts';
import { type Extensions, noExtensions, readExtensions } from './read-extensions.ts';
import { readAlgorithm } from './signature.ts';

/** A certificate of anyone, decoded and judged by nobody yet. */
export interface Certificate extends Extensions {
  readonly der: Uint8Array;
  /** Lower-case hex SHA-256 of `der`. */
  readonly fingerprint: string;
  /** The signed part. */
  readonly tbs: Uint8Array;
  /** Dotted OID. */
  readonly signatureAlgorithm: string;
  readonly signature: Uint8Array;
  /** Lower-case hex of the big-endian integer. */
  readonly serial: string;
  /** DER of the names; compared byte by byte. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly hasSubject: boolean;
  /** Wall clock in ms. `notAfter` is the last valid second. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
}

/** How a CA is named in rosters and deny-lists; undefined if it does not say. */
export function caKeyId(certificate: Certificate): KeyId | undefined {
  return certificate.subjectKeyId;
}

/** Lower-case hex SHA-256 of a certificate's DER. */
export function fingerprintOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function malformed(rule: string): IsthmusError {
  return new IsthmusError('corrupt', `A certificate is malformed: ${rule}`);
}

/** Decodes at most 16 KiB of canonical DER, X.509 version 3 only. @throws IsthmusError `corrupt` */
export function readCertificate(bytes: Uint8Array): Certificate {
  const outer = der.itemsOf('A certificate', der.decodeDer('A certificate', bytes));
  const [tbs, algorithm, signature] = outer;
  if (outer.length !== 3 || tbs === undefined) throw malformed('it has missing or extra fields');
  const fields = der.itemsOf('TBSCertificate', tbs);
  const [version, serial, innerAlgorithm, issuer, validity, subject, spki] = fields;
  if (!issuer || !subject || !spki) throw malformed('it has missing fields');
  const versionItems = der.taggedItems(version, 0);
  if (versionItems?.length !== 1 || der.readSmallInteger('version', versionItems[0]) !== 2) {
    throw malformed('it is not of version 3');
  }
  const signatureAlgorithm = readAlgorithm('signatureAlgorithm', algorithm);
  if (readAlgorithm('signature', innerAlgorithm) !== signatureAlgorithm) throw malformed('it names two algorithms');
  const { bytes: signatureBytes, unusedBits } = der.readBits('signatureValue', signature);
  if (unusedBits !== 0) throw malformed('its signature is no whole number of bytes');
  return {
    der: bytes,
    fingerprint: fingerprintOf(bytes),
    tbs: der.encodeDer(tbs),
    signatureAlgorithm,
    signature: signatureBytes,
    serial: readSerial(serial),
    issuer: der.encodeDer(issuer),
    subject: der.encodeDer(subject),
    hasSubject: der.itemsOf('subject', subject).length > 0,
    ...readValidity(validity),
    spki: der.encodeDer(spki),
    ...extensionsOf(fields.slice(7)),
  };
}

function readSerial(value: der.Asn1 | undefined): string {
  const bytes = der.readInteger('serialNumber', value);
  // RFC 5280 §4.1.2.2: positive, and up to 20 bytes.
  if (bytes.length > 20 || bytes.readInt8(0) < 0 || bytes.every((byte) => byte === 0)) {
    throw malformed('its serial number is not positive or has more than 20 bytes');
  }
  return bytes.toString('hex');
}

function readValidity(value: der.Asn1 | undefined): { readonly notBefore: number; readonly notAfter: number } {
  const [from, to, ...rest] = der.itemsOf('validity', value);
  if (rest.length > 0) throw malformed('its validity has extra fields');
  return { notBefore: der.readTime('notBefore', from), notAfter: der.readTime('notAfter', to) };
}

/** What follows the key: unique identifiers [1], [2] (obsolete, refused) and extensions [3]. */
function extensionsOf(rest: readonly der.Asn1[]): Extensions {
  if (rest.length === 0) return noExtensions;
  const tagged = der.taggedItems(rest[0], 3);
  if (rest.length > 1 || tagged?.length !== 1) throw malformed('it has unknown fields after its key');
  return readExtensions(tagged[0]);
}
