import forge from 'node-forge';
import { IsthmusError } from '../../model/error.ts';

/**
 * node-forge's ASN.1, narrowed to what certificates need. forge is the codec and nothing else: no key, signature or
 * random number of Isthmus is forge's.
 */

const { asn1 } = forge;
const { Class, Type } = asn1;

/** One ASN.1 value; primitive contents are binary strings. */
export type Asn1 = forge.asn1.Asn1;

/** Nothing that Isthmus reads from others may be larger (DER of one certificate or CSR). */
export const maxDerBytes: number = 16 << 10;

function primitive(type: forge.asn1.Type, value: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, type, false, value);
}

function binary(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

export function sequence(...items: readonly Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, [...items]);
}

export function set(...items: readonly Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SET, true, [...items]);
}

export function oid(dotted: string): Asn1 {
  return primitive(Type.OID, asn1.oidToDer(dotted).getBytes());
}

/** `bytes`: big-endian two's complement, already minimal. */
export function integer(bytes: Uint8Array): Asn1 {
  return primitive(Type.INTEGER, binary(bytes));
}

export function trueValue(): Asn1 {
  return primitive(Type.BOOLEAN, '\u00ff');
}

export function nullValue(): Asn1 {
  return primitive(Type.NULL, '');
}

export function octetString(content: Uint8Array): Asn1 {
  return primitive(Type.OCTETSTRING, binary(content));
}

/** `unusedBits`: how many low bits of the last byte do not count. */
export function bitString(content: Uint8Array, unusedBits: number = 0): Asn1 {
  return primitive(Type.BITSTRING, String.fromCharCode(unusedBits) + binary(content));
}

export function utf8String(text: string): Asn1 {
  return primitive(Type.UTF8, Buffer.from(text, 'utf8').toString('latin1'));
}

/** `[tag]` around primitive content (implicit tagging). */
export function implicit(tag: number, content: Uint8Array): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag, false, binary(content));
}

/** `[tag]` around other values. */
export function explicit(tag: number, ...items: readonly Asn1[]): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag, true, [...items]);
}

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050, always whole seconds in Z. */
export function time(atMs: number): Asn1 {
  const text = new Date(atMs).toISOString().replace(/[-:T]|\.\d+/g, '');
  return Number(text.slice(0, 4)) < 2050
    ? primitive(Type.UTCTIME, text.slice(2))
    : primitive(Type.GENERALIZEDTIME, text);
}

export function encodeDer(value: Asn1): Uint8Array {
  return Buffer.from(asn1.toDer(value).getBytes(), 'latin1');
}

/** forge's decoder with its options, which its type declarations leave out. */
const fromDer = asn1.fromDer as unknown as (bytes: string, options: object) => Asn1;

/** Decodes bytes of our own making, without any check of canonicity. */
export function decodeOwnDer(bytes: Uint8Array): Asn1 {
  return fromDer(binary(bytes), { strict: true, decodeBitStrings: false });
}

/**
 * Decodes bytes of others: bounded, and only if they are the one DER encoding of their value, so that what is verified
 * and what is used can never differ.
 * @throws IsthmusError `corrupt`
 */
export function decodeDer(what: string, bytes: Uint8Array): Asn1 {
  if (bytes.length > maxDerBytes) {
    throw new IsthmusError('corrupt', `${what} of ${bytes.length} bytes is over the limit of ${maxDerBytes}`);
  }
  let value: Asn1;
  let again: Uint8Array;
  try {
    value = decodeOwnDer(bytes);
    again = encodeDer(value);
  } catch (cause) {
    throw new IsthmusError('corrupt', `${what} is not DER`, { cause });
  }
  if (!Buffer.from(again).equals(bytes) || !isCanonical(value)) {
    throw new IsthmusError('corrupt', `${what} is not canonical DER`);
  }
  return value;
}

/** What encoding again does not reveal: BOOLEAN other than 0 or 255, and strings put together from pieces. */
function isCanonical(value: Asn1): boolean {
  const { tagClass, type, constructed } = value;
  if (tagClass === Class.UNIVERSAL) {
    const container = type === Type.SEQUENCE || type === Type.SET;
    if (container !== constructed) return false;
    if (type === Type.BOOLEAN && value.value !== '\u00ff' && value.value !== '\0') return false;
  }
  return !Array.isArray(value.value) || value.value.every(isCanonical);
}

function unexpected(what: string): IsthmusError {
  return new IsthmusError('corrupt', `${what} is malformed`);
}

/** The members of a SEQUENCE (or SET). @throws IsthmusError `corrupt` */
export function itemsOf(what: string, value: Asn1 | undefined, type: 'sequence' | 'set' = 'sequence'): readonly Asn1[] {
  const wanted = type === 'sequence' ? Type.SEQUENCE : Type.SET;
  if (value?.tagClass !== Class.UNIVERSAL || value.type !== wanted || !Array.isArray(value.value)) {
    throw unexpected(what);
  }
  return value.value;
}

/** The members inside a constructed `[tag]`, or undefined if `value` is something else. */
export function taggedItems(value: Asn1 | undefined, tag: number): readonly Asn1[] | undefined {
  return isTagged(value, tag) && Array.isArray(value?.value) ? value.value : undefined;
}

/** The content of a primitive `[tag]`, or undefined if `value` is something else. */
export function taggedBytes(value: Asn1 | undefined, tag: number): Buffer | undefined {
  return isTagged(value, tag) && typeof value?.value === 'string' ? Buffer.from(value.value, 'latin1') : undefined;
}

function isTagged(value: Asn1 | undefined, tag: number): boolean {
  return value?.tagClass === Class.CONTEXT_SPECIFIC && (value.type as number) === tag;
}

/** The tag number of a context-specific value, or undefined. */
export function tagOf(value: Asn1): number | undefined {
  return value.tagClass === Class.CONTEXT_SPECIFIC ? (value.type as number) : undefined;
}

function primitiveContent(what: string, value: Asn1 | undefined, type: forge.asn1.Type): string {
  if (value?.tagClass !== Class.UNIVERSAL || value.type !== type || typeof value.value !== 'string') {
    throw unexpected(what);
  }
  return value.value;
}

/** @throws IsthmusError `corrupt` */
export function readOid(what: string, value: Asn1 | undefined): string {
  const content = primitiveContent(what, value, Type.OID);
  if (content === '' || content.length > 64) throw unexpected(what);
  return asn1.derToOid(content);
}

/** @throws IsthmusError `corrupt` */
export function readOctets(what: string, value: Asn1 | undefined): Buffer {
  return Buffer.from(primitiveContent(what, value, Type.OCTETSTRING), 'latin1');
}

/** Big-endian two's complement, as encoded. @throws IsthmusError `corrupt` */
export function readInteger(what: string, value: Asn1 | undefined): Buffer {
  const content = primitiveContent(what, value, Type.INTEGER);
  if (content === '') throw unexpected(what);
  return Buffer.from(content, 'latin1');
}

/** A non-negative integer below 2^31. @throws IsthmusError `corrupt` */
export function readSmallInteger(what: string, value: Asn1 | undefined): number {
  const bytes = readInteger(what, value);
  if (bytes.length > 4 || bytes.readInt8(0) < 0) throw unexpected(what);
  return bytes.readUIntBE(0, bytes.length);
}

/** @throws IsthmusError `corrupt` */
export function readBoolean(what: string, value: Asn1 | undefined): boolean {
  return primitiveContent(what, value, Type.BOOLEAN) === '\u00ff';
}

export function isBoolean(value: Asn1 | undefined): boolean {
  return value?.tagClass === Class.UNIVERSAL && value.type === Type.BOOLEAN;
}

/** @throws IsthmusError `corrupt` */
export function readBits(
  what: string,
  value: Asn1 | undefined,
): { readonly bytes: Buffer; readonly unusedBits: number } {
  const content = primitiveContent(what, value, Type.BITSTRING);
  const unusedBits = content.charCodeAt(0);
  if (content === '' || unusedBits > 7 || (content.length === 1 && unusedBits > 0)) throw unexpected(what);
  return { bytes: Buffer.from(content.slice(1), 'latin1'), unusedBits };
}

const utcShape = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const generalizedShape = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/** Wall clock in ms (RFC 5280 §4.1.2.5: seconds are always there, the zone is always Z). @throws IsthmusError `corrupt` */
export function readTime(what: string, value: Asn1 | undefined): number {
  const isUtc = value?.type === Type.UTCTIME;
  const content = primitiveContent(what, value, isUtc ? Type.UTCTIME : Type.GENERALIZEDTIME);
  const match = (isUtc ? utcShape : generalizedShape).exec(content);
  if (!match) throw unexpected(what);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  // RFC 5280 §4.1.2.5.1: two-digit years from 50 on are of the 20th century.
  const fullYear = isUtc ? year + (year >= 50 ? 1900 : 2000) : year;
  const at = Date.UTC(fullYear, month - 1, day, hour, minute, second);
  const back = new Date(at);
  if (back.getUTCMonth() !== month - 1 || back.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) {
    throw unexpected(what);
  }
  return at;
}
