import { createHash } from 'node:crypto';
import { IsthmusError } from '../../model/error.ts';
import type { SpiffeId, TrustDomain } from '../../model/identity.ts';
import type { KeyId } from '../../model/trust.ts';
import * as der from './der.ts';
import { oids } from './oids.ts';
import { keyUsageBits, type ProfileName, profiles, type Validity } from './profiles.ts';

/**
 * Encodes certificates: the part to be signed, then the whole. Signing, serial numbers and clocks belong to the caller,
 * so that this file can neither hold a key nor draw randomness.
 */

/** RFC 5280, upper bounds of X.520 names. */
const maxNameChars = 64;

/** What never changes among the certificates of one issuer, encoded once. */
export interface IssuerParts {
  readonly name: der.Asn1;
  readonly authorityKeyId: der.Asn1 | undefined;
  /** Wall clock in ms; nothing it issues may last longer. */
  readonly notAfter: number;
}

/** What is to be certified. */
export interface CertificateSpec extends Validity {
  readonly profile: ProfileName;
  /** Undefined: empty subject; the SAN is then critical. */
  readonly subject: DistinguishedName | undefined;
  /** The one URI SAN; undefined only for a root. */
  readonly uri: SpiffeId | undefined;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** Permit only ids of exactly this trust domain (critical nameConstraints); for intermediates. */
  readonly permitted?: TrustDomain;
  /** Big-endian, positive, at most 20 bytes. */
  readonly serial: Uint8Array;
}

export interface DistinguishedName {
  readonly organization: string;
  readonly commonName: string;
}

/**
 * Name of a CA: unique per key, so that two certificates of one CA are never confused. What is too long for X.520 is
 * cut in front of the key id.
 */
export function caName(organization: string, title: string, keyId: KeyId): DistinguishedName {
  const suffix = ` ${keyId.slice(0, 8)}`;
  return {
    organization: organization.slice(0, maxNameChars),
    commonName: title.slice(0, maxNameChars - suffix.length) + suffix,
  };
}

/** Subject key identifier: leftmost 160 bits of SHA-256 over the subjectPublicKey bits (RFC 7093 §2, method 1). */
export function keyIdOf(spki: Uint8Array): KeyId {
  const [, key] = der.itemsOf('SubjectPublicKeyInfo', der.decodeOwnDer(spki));
  const { bytes } = der.readBits('subjectPublicKey', key);
  return createHash('sha256').update(bytes).digest('hex').slice(0, 40);
}

function nameOf(name: DistinguishedName | undefined): der.Asn1 {
  if (!name) return der.sequence();
  const attribute = (type: string, value: string): der.Asn1 =>
    der.set(der.sequence(der.oid(type), der.utf8String(value)));
  return der.sequence(attribute(oids.organization, name.organization), attribute(oids.commonName, name.commonName));
}

/** Issuer parts of a CA that signs certificates with the key `keyId`. */
export function issuerParts(subject: Uint8Array, keyId: KeyId, notAfter: number): IssuerParts {
  return {
    name: der.decodeOwnDer(subject),
    authorityKeyId: extension(oids.authorityKeyId, der.sequence(der.implicit(0, Buffer.from(keyId, 'hex')))),
    notAfter,
  };
}

/** Issuer parts of a root: its own name, no authority key identifier (RFC 5280 §4.2.1.1). */
export function selfIssued(subject: DistinguishedName): IssuerParts {
  return { name: nameOf(subject), authorityKeyId: undefined, notAfter: Number.POSITIVE_INFINITY };
}

function extension(id: string, value: der.Asn1, critical: boolean = false): der.Asn1 {
  const content = der.octetString(der.encodeDer(value));
  return critical ? der.sequence(der.oid(id), der.trueValue(), content) : der.sequence(der.oid(id), content);
}

/** keyUsage as named bits: trailing zeroes are not sent (X.690 §11.2.2). */
function keyUsage(profile: ProfileName): der.Asn1 {
  const bits = profiles[profile].keyUsage.map((name) => keyUsageBits[name]);
  const byte = bits.reduce<number>((sum, bit) => sum | (0x80 >> bit), 0);
  return extension(oids.keyUsage, der.bitString(Uint8Array.of(byte), 7 - Math.max(...bits)), true);
}

function basicConstraints(profile: ProfileName): der.Asn1 {
  const { pathLen } = profiles[profile];
  const value =
    pathLen === undefined ? der.sequence() : der.sequence(der.trueValue(), der.integer(Uint8Array.of(pathLen)));
  return extension(oids.basicConstraints, value, true);
}

const bothPurposes = extension(oids.extKeyUsage, der.sequence(der.oid(oids.serverAuth), der.oid(oids.clientAuth)));

/** Extensions that depend on the profile only, encoded once. */
const fixedExtensions: Readonly<Record<ProfileName, readonly der.Asn1[]>> = {
  root: fixed('root'),
  authority: fixed('authority'),
  intermediate: fixed('intermediate'),
  seal: fixed('seal'),
  leaf: fixed('leaf'),
};

function fixed(profile: ProfileName): readonly der.Asn1[] {
  return [basicConstraints(profile), keyUsage(profile), ...(profiles[profile].extKeyUsage ? [bothPurposes] : [])];
}

/** RFC 5280 §4.2.1.10: permittedSubtrees [0] of one GeneralSubtree whose base is a URI's host. */
function permittedUri(domain: TrustDomain): der.Asn1 {
  const subtree = der.sequence(der.implicit(6, Buffer.from(domain, 'latin1')));
  return extension(oids.nameConstraints, der.sequence(der.explicit(0, subtree)), true);
}

const ecdsaSha256 = der.sequence(der.oid(oids.ecdsaSha256));
const version3 = der.explicit(0, der.integer(Uint8Array.of(2)));

function checkSerial(serial: Uint8Array): void {
  const [first = 0x80] = serial;
  if (serial.length < 9 || serial.length > 20 || first === 0 || first > 0x7f) {
    throw new IsthmusError('internal', 'A serial number must be positive, minimal and have 64 random bits');
  }
}

/** The TBSCertificate to be signed with ECDSA P-256 and SHA-256. @throws IsthmusError `invalid` for an impossible life. */
export function encodeTbs(spec: CertificateSpec, issuer: IssuerParts): Uint8Array {
  checkSerial(spec.serial);
  if (spec.notAfter > issuer.notAfter || spec.notBefore >= spec.notAfter) {
    throw new IsthmusError(
      'invalid',
      `A certificate from ${new Date(spec.notBefore).toISOString()} to ${new Date(spec.notAfter).toISOString()} is not within its issuer's life`,
    );
  }
  const extensions = [...fixedExtensions[spec.profile]];
  if (profiles[spec.profile].pathLen !== undefined) {
    extensions.push(extension(oids.subjectKeyId, der.octetString(Buffer.from(keyIdOf(spec.spki), 'hex'))));
  }
  if (issuer.authorityKeyId) extensions.push(issuer.authorityKeyId);
  if (spec.uri !== undefined) {
    const names = der.sequence(der.implicit(6, Buffer.from(spec.uri, 'latin1')));
    extensions.push(extension(oids.subjectAltName, names, spec.subject === undefined));
  }
  if (spec.permitted !== undefined) extensions.push(permittedUri(spec.permitted));
  return der.encodeDer(
    der.sequence(
      version3,
      der.integer(spec.serial),
      ecdsaSha256,
      issuer.name,
      der.sequence(der.time(spec.notBefore), der.time(spec.notAfter)),
      nameOf(spec.subject),
      der.decodeOwnDer(spec.spki),
      der.explicit(3, der.sequence(...extensions)),
    ),
  );
}

/** The whole of a signed structure (Certificate, CertificationRequest). `signature`: DER ECDSA. */
export function encodeSigned(toBeSigned: Uint8Array, signature: Uint8Array): Uint8Array {
  return der.encodeDer(der.sequence(der.decodeOwnDer(toBeSigned), ecdsaSha256, der.bitString(signature)));
}
