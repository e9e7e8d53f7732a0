import { IsthmusError } from '../model/error.ts';
import { parseTrustDomain, type TrustDomain } from '../model/identity.ts';
import { parseStrictJson, type StrictJson, type StrictJsonObject } from './strict-json.ts';

/**
 * SPIFFE bundles as JSON (SPIFFE Trust Domain and Bundle §4, X509-SVID §6): the members of the document and of each
 * key. Whether a certificate is what its key says is for `trust/bundle/` to find out.
 */

/** A public key as RFC 7518 §6 spells it; members in the order of RFC 7638 §3.2. */
export type PublicJwk =
  | { readonly crv: string; readonly kty: 'EC'; readonly x: string; readonly y: string }
  | { readonly e: string; readonly kty: 'RSA'; readonly n: string };

/** An element of `keys` for X.509-SVIDs. */
export interface X509Key {
  readonly jwk: PublicJwk;
  /** DER of the one certificate in `x5c`; not looked at yet. */
  readonly certificate: Uint8Array;
}

/** An element of `keys` for JWT-SVIDs. */
export interface JwtKey {
  readonly jwk: PublicJwk;
  readonly kid: string;
}

/** An element of `keys`, or a part of one, that counts for nothing. */
export interface IgnoredKey {
  /** Its place in `keys`, from 0. */
  readonly index: number;
  readonly why: string;
}

/** One bundle, decoded; it says nothing of whose it is. */
export interface BundleDocument {
  /** 64 bits, unsigned; undefined: it has none. */
  readonly sequence: bigint | undefined;
  /** In ms; undefined: it says nothing. */
  readonly refreshHintMs: number | undefined;
  readonly x509Keys: readonly (X509Key & { readonly index: number })[];
  readonly jwtKeys: readonly JwtKey[];
  readonly ignored: readonly IgnoredKey[];
}

/** What a bundle is written from. */
export interface BundleContent {
  /** Undefined only for what was read without one. */
  readonly sequence: bigint | undefined;
  /** Whole seconds; undefined: left to the reader, as inside of a map (§5). */
  readonly refreshHintS?: number;
  readonly x509Keys: readonly X509Key[];
}

/** Key of the record of the authority's partition that holds the sealed bundle map. */
export const bundlesRecordKey = 'bundles';

/** A bundle of another trust domain is refused beyond these. */
export const maxBundleBytes: number = 1 << 20;
const maxKeys = 256;
/** Room for as many members as a roster. */
const maxBundleMapBytes = 8 << 20;
const maxTrustDomains = 5001;
const maxSequence = 2n ** 64n - 1n;
/** A hint is a wish: no reader waits longer than a year. */
const maxRefreshHintS = 31_536_000;
const maxMemberChars = 16 << 10;

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const base64Url = /^[A-Za-z0-9_-]+$/;

/**
 * Reads a bundle. An element that breaks a rule of its own is left out and told of; the document is refused only for
 * what makes it no bundle at all.
 * @throws IsthmusError `corrupt`
 */
export function decodeBundle(bytes: Uint8Array): BundleDocument {
  return documentOf(parseStrictJson('A bundle', bytes, { maxBytes: maxBundleBytes }));
}

/**
 * Reads a bundle map (§5): all of it or nothing.
 * @throws IsthmusError `corrupt`, also for a trust domain that stands twice
 */
export function decodeBundleMap(bytes: Uint8Array): ReadonlyMap<TrustDomain, BundleDocument> {
  const root = objectOf('A bundle map', parseStrictJson('A bundle map', bytes, { maxBytes: maxBundleMapBytes }));
  const domains = objectOf('trust_domains of a bundle map', root.get('trust_domains'));
  if (domains.size > maxTrustDomains) throw refused(`a map of ${domains.size} trust domains is too large`);
  const bundles = new Map<TrustDomain, BundleDocument>();
  for (const [name, bundle] of domains) {
    try {
      bundles.set(parseTrustDomain(name), documentOf(bundle));
    } catch (cause) {
      throw refused(`that of '${name.slice(0, 300)}': ${IsthmusError.from(cause).message}`, cause);
    }
  }
  return bundles;
}

/** The JSON of one bundle; equal contents are equal bytes when the keys come in the same order. */
export function encodeBundle(content: BundleContent): Uint8Array {
  return Buffer.from(bundleText(content));
}

/** @throws IsthmusError `exhausted` when it is larger than readers accept */
export function encodeBundleMap(bundles: ReadonlyMap<TrustDomain, BundleContent>): Uint8Array {
  const members = [...bundles]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([domain, content]) => `${JSON.stringify(domain)}:${bundleText(content)}`);
  const bytes = Buffer.from(`{"trust_domains":{${members.join(',')}}}`);
  if (bytes.length > maxBundleMapBytes || members.length > maxTrustDomains) {
    throw new IsthmusError(
      'exhausted',
      `A map of ${members.length} bundles, ${bytes.length} bytes, is too large: at most ${maxTrustDomains}, ${maxBundleMapBytes} bytes`,
    );
  }
  return bytes;
}

/** Written by hand because `JSON.stringify` knows no 64-bit integers. */
function bundleText({ sequence, refreshHintS, x509Keys }: BundleContent): string {
  const hint = refreshHintS === undefined ? '' : `"spiffe_refresh_hint":${refreshHintS},`;
  const keys = x509Keys.map(({ jwk, certificate }) =>
    JSON.stringify({ ...jwk, use: 'x509-svid', x5c: [Buffer.from(certificate).toString('base64')] }),
  );
  const order = sequence === undefined ? '' : `"spiffe_sequence":${sequence},`;
  return `{${order}${hint}"keys":[${keys.join(',')}]}`;
}

function refused(why: string, cause?: unknown): IsthmusError {
  return new IsthmusError('corrupt', `A bundle is refused: ${why}`, cause === undefined ? {} : { cause });
}

function objectOf(what: string, value: StrictJson | undefined): StrictJsonObject {
  if (value instanceof Map) return value;
  throw new IsthmusError('corrupt', `${what} must be a JSON object`);
}

function documentOf(value: StrictJson): BundleDocument {
  const document = objectOf('A bundle', value);
  const keys = document.get('keys');
  if (!Array.isArray(keys)) throw refused(`'keys' must be there and be an array`);
  if (keys.length > maxKeys) throw refused(`it has ${keys.length} keys, the limit is ${maxKeys}`);
  const ignored: IgnoredKey[] = [];
  const x509Keys: (X509Key & { readonly index: number })[] = [];
  const jwtKeys: JwtKey[] = [];
  for (const [index, element] of (keys as readonly StrictJson[]).entries()) {
    const found = keyOf(element, (why) => {
      ignored.push({ index, why });
      return undefined;
    });
    if (!found) continue;
    if ('kid' in found) jwtKeys.push(found);
    else x509Keys.push({ ...found, index });
  }
  return {
    sequence: integerOf(document, 'spiffe_sequence', maxSequence),
    refreshHintMs: hintOf(document),
    x509Keys,
    jwtKeys,
    ignored,
  };
}

function hintOf(document: StrictJsonObject): number | undefined {
  const seconds = integerOf(document, 'spiffe_refresh_hint', maxSequence);
  if (seconds === undefined) return undefined;
  return Number(seconds > BigInt(maxRefreshHintS) ? BigInt(maxRefreshHintS) : seconds) * 1000;
}

function integerOf(document: StrictJsonObject, name: string, max: bigint): bigint | undefined {
  const value = document.get(name);
  if (value === undefined) return undefined;
  const integer = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof integer === 'bigint' && integer >= 0n && integer <= max) return integer;
  throw refused(`'${name}' must be an integer from 0 to ${max}: current value is ${describe(value)}`);
}

function describe(value: StrictJson): string {
  if (typeof value === 'bigint') return String(value);
  return typeof value === 'object' ? 'no number' : JSON.stringify(value).slice(0, 80);
}

/** Notes that an element, or a part of it, counts for nothing. */
type Ignore = (why: string) => undefined;

function keyOf(element: StrictJson, ignore: Ignore): X509Key | JwtKey | undefined {
  if (!(element instanceof Map)) return ignore('it is no JSON object');
  const use = textOf(element, 'use');
  if (use !== 'x509-svid' && use !== 'jwt-svid') {
    return ignore(use === undefined ? `it has no 'use'` : `its use '${use.slice(0, 80)}' is unknown`);
  }
  const jwk = publicJwk(element);
  if (!jwk) {
    const kty = textOf(element, 'kty');
    return ignore(`its kty '${kty?.slice(0, 80) ?? ''}' is unknown, or members of the key are missing`);
  }
  if (use === 'jwt-svid') {
    const kid = textOf(element, 'kid');
    return kid === undefined ? ignore(`'kid' must be set for jwt-svid`) : { jwk, kid };
  }
  if (element.has('kid')) return ignore(`'kid' must not be set for x509-svid`);
  return x509KeyOf(element, jwk, ignore);
}

function x509KeyOf(element: StrictJsonObject, jwk: PublicJwk, ignore: Ignore): X509Key | undefined {
  const x5c = element.get('x5c');
  const first: StrictJson | undefined = Array.isArray(x5c) ? (x5c as readonly StrictJson[])[0] : undefined;
  if (!Array.isArray(x5c) || first === undefined) return ignore(`'x5c' is missing or empty`);
  if (typeof first !== 'string' || first === '' || first.length > maxMemberChars * 2 || !base64.test(first)) {
    return ignore(`the first of 'x5c' is not base64 of a certificate`);
  }
  if (x5c.length > 1) ignore(`all but the first of the ${x5c.length} certificates in 'x5c'`);
  return { jwk, certificate: Buffer.from(first, 'base64') };
}

function publicJwk(element: StrictJsonObject): PublicJwk | undefined {
  const member = (name: string): string | undefined => {
    const text = textOf(element, name);
    return text !== undefined && base64Url.test(text) ? text : undefined;
  };
  const [crv, x, y, n, e] = [textOf(element, 'crv'), member('x'), member('y'), member('n'), member('e')];
  const kty = textOf(element, 'kty');
  if (kty === 'EC' && crv !== undefined && x !== undefined && y !== undefined) return { crv, kty, x, y };
  return kty === 'RSA' && n !== undefined && e !== undefined ? { e, kty, n } : undefined;
}

function textOf(element: StrictJsonObject, name: string): string | undefined {
  const value = element.get(name);
  return typeof value === 'string' && value.length <= maxMemberChars ? value : undefined;
}
