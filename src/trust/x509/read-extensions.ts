import { IsthmusError } from '../../model/error.ts';
import type { KeyId } from '../../model/trust.ts';
import * as der from './der.ts';
import { oids } from './oids.ts';
import { type KeyUsageName, keyUsageBits } from './profiles.ts';

/** Tag numbers of GeneralName (RFC 5280 §4.2.1.6). */
export const generalNameTag = { email: 1, dns: 2, directory: 4, uri: 6, ip: 7 } as const;

/** One GeneralName: its tag and its content, undecoded. */
export interface GeneralName {
  readonly tag: number;
  /** Empty for the forms that are not a plain string. */
  readonly value: Buffer;
}

export interface NameConstraints {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}

/** The extensions that Isthmus understands. Everything is undefined or empty if the extension is missing. */
export interface Extensions {
  readonly subjectKeyId: KeyId | undefined;
  readonly authorityKeyId: KeyId | undefined;
  readonly basicConstraints: { readonly ca: boolean; readonly pathLen: number | undefined } | undefined;
  readonly keyUsage: KeyUsage | undefined;
  /** Dotted OIDs; undefined: any purpose. */
  readonly extKeyUsage: readonly string[] | undefined;
  readonly names: readonly GeneralName[];
  readonly namesAreCritical: boolean;
  readonly nameConstraints: NameConstraints | undefined;
  /** Dotted OIDs of critical extensions that nobody here understands. */
  readonly unknownCritical: readonly string[];
}

export interface KeyUsage {
  readonly critical: boolean;
  has(name: KeyUsageName): boolean;
}

/** A certificate without extensions. */
export const noExtensions: Extensions = {
  subjectKeyId: undefined,
  authorityKeyId: undefined,
  basicConstraints: undefined,
  keyUsage: undefined,
  extKeyUsage: undefined,
  names: [],
  namesAreCritical: false,
  nameConstraints: undefined,
  unknownCritical: [],
};

type Parsed = { -readonly [K in keyof Extensions]: Extensions[K] };

/** Bounds of what one certificate may list. */
const maxExtensions = 64;
const maxNames = 256;

function malformed(what: string): IsthmusError {
  return new IsthmusError('corrupt', `A certificate is malformed: ${what}`);
}

/** Reads the Extensions sequence; one that stands twice is refused (RFC 5280 §4.2). @throws IsthmusError `corrupt` */
export function readExtensions(value: der.Asn1 | undefined): Extensions {
  const items = der.itemsOf('extensions', value);
  if (items.length === 0 || items.length > maxExtensions) throw malformed(`it has ${items.length} extensions`);
  const result: Parsed = { ...noExtensions };
  const seen = new Set<string>();
  for (const item of items) {
    const fields = [...der.itemsOf('Extension', item)];
    const id = der.readOid('extnID', fields.shift());
    if (seen.has(id)) throw malformed(`extension ${id} stands twice`);
    seen.add(id);
    const critical = der.isBoolean(fields[0]) && der.readBoolean('critical', fields.shift());
    const content = der.readOctets('extnValue', fields.shift());
    if (fields.length > 0) throw malformed(`extension ${id} has extra fields`);
    readOne(result, id, { critical, content });
  }
  return result;
}

interface RawExtension {
  readonly critical: boolean;
  readonly content: Buffer;
}

function readOne(result: Parsed, id: string, { critical, content }: RawExtension): void {
  const value = (what: string): der.Asn1 => der.decodeDer(what, content);
  switch (id) {
    case oids.subjectKeyId:
      result.subjectKeyId = readKeyId(der.readOctets('subjectKeyIdentifier', value('subjectKeyIdentifier')));
      return;
    case oids.authorityKeyId: {
      const items = der.itemsOf('authorityKeyIdentifier', value('authorityKeyIdentifier'));
      const keyId = der.taggedBytes(items[0], 0);
      if (keyId) result.authorityKeyId = readKeyId(keyId);
      return;
    }
    case oids.basicConstraints:
      result.basicConstraints = readBasicConstraints(value('basicConstraints'));
      return;
    case oids.keyUsage:
      result.keyUsage = readKeyUsage(value('keyUsage'), critical);
      return;
    case oids.extKeyUsage:
      result.extKeyUsage = der
        .itemsOf('extKeyUsage', value('extKeyUsage'))
        .map((purpose) => der.readOid('KeyPurposeId', purpose));
      return;
    case oids.subjectAltName:
      result.names = readNames(der.itemsOf('subjectAltName', value('subjectAltName')));
      result.namesAreCritical = critical;
      return;
    case oids.nameConstraints:
      result.nameConstraints = readNameConstraints(value('nameConstraints'));
      return;
    default:
      if (critical) result.unknownCritical = [...result.unknownCritical, id];
  }
}

function readKeyId(bytes: Buffer): KeyId {
  if (bytes.length === 0 || bytes.length > 64) throw malformed(`a key identifier has ${bytes.length} bytes`);
  return bytes.toString('hex');
}

function readBasicConstraints(value: der.Asn1): Extensions['basicConstraints'] {
  const fields = [...der.itemsOf('basicConstraints', value)];
  const ca = der.isBoolean(fields[0]) && der.readBoolean('cA', fields.shift());
  const pathLen = fields.length > 0 ? der.readSmallInteger('pathLenConstraint', fields.shift()) : undefined;
  if (fields.length > 0 || (pathLen !== undefined && !ca)) throw malformed('basicConstraints contradict themselves');
  return { ca, pathLen };
}

function readKeyUsage(value: der.Asn1, critical: boolean): KeyUsage {
  const { bytes } = der.readBits('keyUsage', value);
  return {
    critical,
    has: (name) => {
      const bit = keyUsageBits[name];
      return ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0;
    },
  };
}

function readNames(items: readonly der.Asn1[]): readonly GeneralName[] {
  if (items.length > maxNames) throw malformed(`it has ${items.length} names`);
  return items.map((item) => {
    const tag = der.tagOf(item);
    if (tag === undefined || tag > 8) throw malformed('a GeneralName has an unknown form');
    return { tag, value: der.taggedBytes(item, tag) ?? Buffer.alloc(0) };
  });
}

function readNameConstraints(value: der.Asn1): NameConstraints {
  const items = der.itemsOf('nameConstraints', value);
  const known = items.filter((item) => der.taggedItems(item, 0) ?? der.taggedItems(item, 1));
  if (items.length === 0 || items.length > 2 || known.length < items.length) throw malformed('nameConstraints');
  const trees = (tag: number): readonly GeneralName[] =>
    readNames(
      items
        .flatMap((item) => der.taggedItems(item, tag) ?? [])
        .map((subtree) => {
          // RFC 5280 §4.2.1.10: minimum is 0 (hence absent in DER) and maximum is absent.
          const [base, ...rest] = der.itemsOf('GeneralSubtree', subtree);
          if (base === undefined || rest.length > 0) throw malformed('a subtree of nameConstraints has bounds');
          return base;
        }),
    );
  return { permitted: trees(0), excluded: trees(1) };
}
