import type { KeyId } from '../../model/trust.ts';
import * as der from './der.ts';
import { oids } from './oids.ts';

/** Encodes the extensions of RFC 5280 §4.2 that Isthmus issues, each as a whole Extension. */

/** A name as it stands in subjectAltName and nameConstraints; `tag` of `generalNameTag`. */
export interface NameSpec {
  readonly tag: number;
  readonly value: Uint8Array;
}

/** Any extension around a value that is encoded already. */
export function extension(id: string, value: der.Asn1, critical: boolean = false): der.Asn1 {
  const content = der.octetString(der.encodeDer(value));
  return critical ? der.sequence(der.oid(id), der.trueValue(), content) : der.sequence(der.oid(id), content);
}

/** keyUsage from the numbers of its bits (0 to 7): trailing zeroes are not sent (X.690 §11.2.2). */
export function keyUsage(bits: readonly number[], critical: boolean = true): der.Asn1 {
  const byte = bits.reduce<number>((sum, bit) => sum | (0x80 >> bit), 0);
  return extension(oids.keyUsage, der.bitString(Uint8Array.of(byte), 7 - Math.max(...bits)), critical);
}

/** `pathLen` only of a CA; undefined there: any depth. */
export function basicConstraints(constraints: { readonly ca: boolean; readonly pathLen?: number }): der.Asn1 {
  const { ca, pathLen } = constraints;
  const depth = pathLen === undefined ? [] : [der.integer(Uint8Array.of(pathLen))];
  return extension(oids.basicConstraints, ca ? der.sequence(der.trueValue(), ...depth) : der.sequence(), true);
}

export function extKeyUsage(purposes: readonly string[]): der.Asn1 {
  return extension(oids.extKeyUsage, der.sequence(...purposes.map((purpose) => der.oid(purpose))));
}

export function subjectKeyId(keyId: KeyId): der.Asn1 {
  return extension(oids.subjectKeyId, der.octetString(Buffer.from(keyId, 'hex')));
}

/** The key identifier and nothing else: issuer and serial would tie the certificate to one path. */
export function authorityKeyId(keyId: KeyId): der.Asn1 {
  return extension(oids.authorityKeyId, der.sequence(der.implicit(0, Buffer.from(keyId, 'hex'))));
}

export function subjectAltName(names: readonly NameSpec[], critical: boolean): der.Asn1 {
  const encoded = names.map(({ tag, value }) => der.implicit(tag, value));
  return extension(oids.subjectAltName, der.sequence(...encoded), critical);
}

/** RFC 5280 §4.2.1.10: permittedSubtrees [0], excludedSubtrees [1]; an empty list is left out. */
export function nameConstraints(
  trees: { readonly permitted?: readonly NameSpec[]; readonly excluded?: readonly NameSpec[] },
  critical: boolean = true,
): der.Asn1 {
  const subtrees = (tag: number, names: readonly NameSpec[] = []): readonly der.Asn1[] =>
    names.length === 0
      ? []
      : [der.explicit(tag, ...names.map((name) => der.sequence(der.implicit(name.tag, name.value))))];
  return extension(
    oids.nameConstraints,
    der.sequence(...subtrees(0, trees.permitted), ...subtrees(1, trees.excluded)),
    critical,
  );
}
