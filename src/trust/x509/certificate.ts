import { createHash } from 'node:crypto';
import { IsthmusError } from '../../model/error.ts';
import type { SpiffeId, TrustDomain } from '../../model/identity.ts';
import type { KeyId } from '../../model/trust.ts';
import * as der from './der.ts';
import { oids } from './oids.ts';
import { keyUsageBits, type ProfileName, profiles, type Validity } from './profiles.ts';
import { generalNameTag } from './read-extensions.ts';
import type { SignatureAlgorithm, Signer } from './signature.ts';
import {
  authorityKeyId,
  basicConstraints,
  extKeyUsage,
  keyUsage,
  nameConstraints,
  subjectAltName,
  subjectKeyId,
} from './write-extensions.ts';

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
  /** With which it signs. */
  readonly algorithm: SignatureAlgorithm;
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
  /** DNS names beside the URI, for clients that know a server by its host. */
  readonly dnsNames?: readonly string[];
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

/** DER of a name; undefined: the empty one. */
export function encodeName(name: DistinguishedName | undefined): der.Asn1 {
  if (!name) return der.sequence();
  const attribute = (type: string, value: string): der.Asn1 =>
    der.set(der.sequence(der.oid(type), der.utf8String(value)));
  return der.sequence(attribute(oids.organization, name.organization), attribute(oids.commonName, name.commonName));
}

/** Issuer parts of a CA that signs certificates with `signer`; `keyId`: how its own certificate names its key. */
export function issuerParts(
  subject: Uint8Array,
  signer: Pick<Signer, 'keyId' | 'algorithm'>,
  notAfter: number,
): IssuerParts {
  return {
    name: der.decodeOwnDer(subject),
    authorityKeyId: authorityKeyId(signer.keyId),
    algorithm: signer.algorithm,
    notAfter,
  };
}

/** Issuer parts of a root: its own name, no authority key identifier (RFC 5280 §4.2.1.1). */
export function selfIssued(subject: DistinguishedName, algorithm: SignatureAlgorithm): IssuerParts {
  return { name: encodeName(subject), authorityKeyId: undefined, algorithm, notAfter: Number.POSITIVE_INFINITY };
}

/** Extensions that depend on the profile only, encoded once. */
const fixedExtensions: Readonly<Record<ProfileName, readonly der.Asn1[]>> = {
  root: fixed('root'),
  authority: fixed('authority'),
  intermediate: fixed('intermediate'),
  seal: fixed('seal'),
  leaf: fixed('leaf'),
};

function fixed(name: ProfileName): readonly der.Asn1[] {
  const profile = profiles[name];
  const { pathLen } = profile;
  const constraints = pathLen === undefined ? { ca: false } : { ca: true, pathLen };
  const purposes = profile.extKeyUsage ? [extKeyUsage([oids.serverAuth, oids.clientAuth])] : [];
  return [basicConstraints(constraints), keyUsage(profile.keyUsage.map((name) => keyUsageBits[name])), ...purposes];
}

function latin1(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

/** AlgorithmIdentifiers: ECDSA has no parameters (RFC 5758 §3.2), RSA has NULL (RFC 4055 §5). */
const algorithmIdentifiers: Readonly<Record<SignatureAlgorithm, der.Asn1>> = {
  ecdsaSha256: der.sequence(der.oid(oids.ecdsaSha256)),
  ecdsaSha384: der.sequence(der.oid(oids.ecdsaSha384)),
  rsaSha256: der.sequence(der.oid(oids.rsaSha256), der.nullValue()),
};

const version3 = der.explicit(0, der.integer(Uint8Array.of(2)));

function checkSerial(serial: Uint8Array): void {
  const [first = 0x80] = serial;
  if (serial.length < 9 || serial.length > 20 || first === 0 || first > 0x7f) {
    throw new IsthmusError('internal', 'A serial number must be positive, minimal and have 64 random bits');
  }
}

/** The TBSCertificate to be signed by the issuer's algorithm. @throws IsthmusError `invalid` for an impossible life. */
export function encodeTbs(spec: CertificateSpec, issuer: IssuerParts): Uint8Array {
  checkSerial(spec.serial);
  if (spec.notAfter > issuer.notAfter || spec.notBefore >= spec.notAfter) {
    throw new IsthmusError(
      'invalid',
      `A certificate from ${new Date(spec.notBefore).toISOString()} to ${new Date(spec.notAfter).toISOString()} is not within its issuer's life`,
    );
  }
  const extensions = [...fixedExtensions[spec.profile]];
  if (profiles[spec.profile].pathLen !== undefined) extensions.push(subjectKeyId(keyIdOf(spec.spki)));
  if (issuer.authorityKeyId) extensions.push(issuer.authorityKeyId);
  if (spec.uri !== undefined) {
    const hosts = (spec.dnsNames ?? []).map((name) => ({ tag: generalNameTag.dns, value: latin1(name) }));
    const names = [{ tag: generalNameTag.uri, value: latin1(spec.uri) }, ...hosts];
    extensions.push(subjectAltName(names, spec.subject === undefined));
  }
  if (spec.permitted !== undefined) {
    extensions.push(nameConstraints({ permitted: [{ tag: generalNameTag.uri, value: latin1(spec.permitted) }] }));
  }
  return der.encodeDer(
    der.sequence(
      version3,
      der.integer(spec.serial),
      algorithmIdentifiers[issuer.algorithm],
      issuer.name,
      der.sequence(der.time(spec.notBefore), der.time(spec.notAfter)),
      encodeName(spec.subject),
      der.decodeOwnDer(spec.spki),
      der.explicit(3, der.sequence(...extensions)),
    ),
  );
}

/** The whole of a signed structure (Certificate, CertificationRequest). ECDSA signatures are DER. */
export function encodeSigned(toBeSigned: Uint8Array, signature: Uint8Array, algorithm: SignatureAlgorithm): Uint8Array {
  return der.encodeDer(
    der.sequence(der.decodeOwnDer(toBeSigned), algorithmIdentifiers[algorithm], der.bitString(signature)),
  );
}
