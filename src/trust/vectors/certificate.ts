import type { KeyId } from '../../model/trust.ts';
import { type DistinguishedName, encodeName } from '../x509/certificate.ts';
import * as der from '../x509/der.ts';
import { oids } from '../x509/oids.ts';
import * as write from '../x509/write-extensions.ts';

/** Keys of vectors; some are unfit on purpose. */
export type VectorKey = 'p256' | 'p384' | 'p521' | 'rsa2048' | 'rsa1024' | 'ed25519';

/** One extension of a vector's certificate. Anything may be said, also what no CA should say. */
export type VectorExtension =
  | { readonly kind: 'basicConstraints'; readonly ca: boolean; readonly pathLen?: number }
  | { readonly kind: 'keyUsage'; readonly bits: readonly number[]; readonly critical: boolean }
  | { readonly kind: 'extKeyUsage'; readonly purposes: readonly string[] }
  /** Key identifiers follow from the keys. */
  | { readonly kind: 'subjectKeyId' }
  | { readonly kind: 'authorityKeyId' }
  | { readonly kind: 'names'; readonly names: readonly VectorName[]; readonly critical: boolean }
  | {
      readonly kind: 'nameConstraints';
      readonly permitted?: readonly VectorName[];
      readonly excluded?: readonly VectorName[];
      readonly critical: boolean;
    }
  /** A private extension that nobody knows. */
  | { readonly kind: 'unknown'; readonly critical: boolean };

/** A name in latin1, so that any byte can be said. */
export interface VectorName {
  readonly tag: number;
  readonly text: string;
}

/** How a certificate is damaged after signing, or made to lie before. */
export type VectorDamage =
  | 'signature'
  | 'trailing-byte'
  | 'long-length'
  | 'version-1'
  | 'sha1'
  | 'negative-serial'
  | 'zero-serial'
  | 'long-serial'
  | 'other-inner-algorithm';

/** One certificate of a vector. */
export interface VectorCertificate {
  /** Name of the certificate whose key signs; its own: self-signed. */
  readonly issuer: string;
  readonly key: VectorKey;
  /** Name of the certificate whose key it shares, such as the root of a cross certificate; default: its own. */
  readonly keyOf?: string;
  readonly subject: DistinguishedName | undefined;
  /** Seconds from the moment of writing. */
  readonly from: number;
  readonly to: number;
  readonly extensions: readonly VectorExtension[];
  readonly damage?: VectorDamage;
}

/** What a certificate of a vector gets from its keys and its issuer. */
export interface VectorContext {
  readonly issuer: DistinguishedName | undefined;
  readonly keyId: KeyId;
  readonly issuerKeyId: KeyId;
  readonly spki: Uint8Array;
  /** AlgorithmIdentifier of the signature. */
  readonly algorithm: der.Asn1;
  readonly serial: Uint8Array;
  /** Wall clock in ms, whole seconds. */
  readonly now: number;
}

const unknownOid = '1.3.6.1.4.1.99999.1';

function encodeExtension(spec: VectorExtension, { keyId, issuerKeyId }: VectorContext): der.Asn1 {
  const named = (names: readonly VectorName[] = []): readonly write.NameSpec[] =>
    names.map(({ tag, text }) => ({ tag, value: Buffer.from(text, 'latin1') }));
  switch (spec.kind) {
    case 'basicConstraints':
      return write.basicConstraints(spec);
    case 'keyUsage':
      return write.keyUsage(spec.bits, spec.critical);
    case 'extKeyUsage':
      return write.extKeyUsage(spec.purposes);
    case 'subjectKeyId':
      return write.subjectKeyId(keyId);
    case 'authorityKeyId':
      return write.authorityKeyId(issuerKeyId);
    case 'names':
      return write.subjectAltName(named(spec.names), spec.critical);
    case 'nameConstraints':
      return write.nameConstraints({ permitted: named(spec.permitted), excluded: named(spec.excluded) }, spec.critical);
    case 'unknown':
      return write.extension(unknownOid, der.sequence(), spec.critical);
  }
}

function serialOf(damage: VectorDamage | undefined, serial: Uint8Array): Uint8Array {
  if (damage === 'negative-serial') return Buffer.concat([Buffer.of(0x80), serial]);
  if (damage === 'zero-serial') return Buffer.of(0);
  return damage === 'long-serial' ? Buffer.concat([serial, serial]) : serial;
}

/** The part of a vector's certificate to be signed. */
export function encodeVectorTbs(spec: VectorCertificate, context: VectorContext): Uint8Array {
  const { damage, subject, extensions, from, to } = spec;
  const { issuer, spki, algorithm, serial, now } = context;
  const version = damage === 'version-1' ? [] : [der.explicit(0, der.integer(Uint8Array.of(2)))];
  const encoded = extensions.map((each) => encodeExtension(each, context));
  const inner = damage === 'other-inner-algorithm' ? der.sequence(der.oid(oids.ecdsaSha512)) : algorithm;
  return der.encodeDer(
    der.sequence(
      ...version,
      der.integer(serialOf(damage, serial)),
      inner,
      encodeName(issuer),
      der.sequence(der.time(now + from * 1000), der.time(now + to * 1000)),
      encodeName(subject),
      der.decodeOwnDer(spki),
      ...(version.length > 0 && encoded.length > 0 ? [der.explicit(3, der.sequence(...encoded))] : []),
    ),
  );
}

/** What is done to the finished DER. */
export function damaged(certificate: Uint8Array, damage: VectorDamage | undefined): Uint8Array {
  const copy = Buffer.from(certificate);
  if (damage === 'signature') {
    // The last byte belongs to `s` of the signature: it still decodes.
    copy.writeUInt8(copy.readUInt8(copy.length - 1) ^ 1, copy.length - 1);
    return copy;
  }
  if (damage === 'trailing-byte') return Buffer.concat([copy, Buffer.of(0)]);
  // The outer length in three bytes instead of two: BER, not DER.
  if (damage === 'long-length') return Buffer.concat([Buffer.of(0x30, 0x83, 0), copy.subarray(2)]);
  return copy;
}
