import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { IsthmusError } from '../../model/error.ts';
import { vectorCases } from '../vectors/cases.ts';
import { damaged, encodeVectorTbs, type VectorKey } from '../vectors/certificate.ts';
import type { VectorCase } from '../vectors/vector-case.ts';
import { rules } from '../verify/rules.ts';
import { keyIdOf } from '../x509/certificate.ts';
import * as der from '../x509/der.ts';
import { oids } from '../x509/oids.ts';
import { encodePemChain } from '../x509/pem.ts';
import { newSerial } from './keys.ts';

/** A vector with its certificates made. */
export interface Vector {
  readonly spec: VectorCase;
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** DER. */
  readonly anchors: readonly Uint8Array[];
  /** PKCS#8 PEM of the leaf's key. */
  readonly leafKeyPem: string;
}

/** A key and how it signs. */
interface VectorSigner {
  readonly key: KeyObject;
  readonly spki: Uint8Array;
  readonly kind: VectorKey;
}

interface Scheme {
  readonly oid: string;
  /** Null: the algorithm has no choice of hash. */
  readonly hash: string | null;
  readonly hasNull?: boolean;
}

const rsa: Scheme = { oid: oids.rsaSha256, hash: 'sha256', hasNull: true };
const schemes: Readonly<Record<VectorKey | 'sha1', Scheme>> = {
  p256: { oid: oids.ecdsaSha256, hash: 'sha256' },
  p384: { oid: oids.ecdsaSha384, hash: 'sha384' },
  p521: { oid: oids.ecdsaSha512, hash: 'sha512' },
  rsa2048: rsa,
  rsa1024: rsa,
  ed25519: { oid: '1.3.101.112', hash: null },
  sha1: { oid: '1.2.840.10045.4.1', hash: 'sha1' },
};

function generateKey(kind: VectorKey): KeyObject {
  switch (kind) {
    case 'p256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    case 'p384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
    case 'p521':
      return generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey;
    case 'rsa2048':
      return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    case 'rsa1024':
      return generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey;
    case 'ed25519':
      return generateKeyPairSync('ed25519').privateKey;
  }
}

/** Keys by certificate name and kind, made once for all vectors: nothing depends on their being fresh. */
class Keys {
  readonly #signers = new Map<string, VectorSigner>();

  of(spec: VectorCase, name: string): VectorSigner {
    const certificate = spec.certificates[name];
    if (!certificate) throw new IsthmusError('internal', `Vector ${spec.name} has no certificate '${name}'`);
    const kind = certificate.key;
    const label = `${certificate.keyOf ?? name} ${kind}`;
    const known = this.#signers.get(label);
    if (known) return known;
    const key = generateKey(kind);
    const made = { key, kind, spki: createPublicKey(key).export({ format: 'der', type: 'spki' }) };
    this.#signers.set(label, made);
    return made;
  }
}

function certificateOf(spec: VectorCase, name: string, { keys, now }: { readonly keys: Keys; readonly now: number }) {
  const certificate = spec.certificates[name];
  if (!certificate) throw new IsthmusError('internal', `Vector ${spec.name} has no certificate '${name}'`);
  const { issuer, damage } = certificate;
  const signer = keys.of(spec, issuer);
  const { spki } = keys.of(spec, name);
  const scheme = schemes[damage === 'sha1' ? damage : signer.kind];
  const algorithm = der.sequence(der.oid(scheme.oid), ...(scheme.hasNull ? [der.nullValue()] : []));
  const tbs = encodeVectorTbs(certificate, {
    issuer: spec.certificates[issuer]?.subject,
    keyId: keyIdOf(spki),
    issuerKeyId: keyIdOf(signer.spki),
    spki,
    algorithm,
    serial: newSerial(),
    now,
  });
  const signature = sign(scheme.hash, tbs, { key: signer.key, dsaEncoding: 'der' });
  const whole = der.encodeDer(der.sequence(der.decodeOwnDer(tbs), algorithm, der.bitString(signature)));
  return damaged(whole, damage);
}

/** Makes the certificates of every vector, with new keys. `at`: wall clock in ms. */
export function makeVectors(at: number): readonly Vector[] {
  const keys = new Keys();
  const now = Math.floor(at / 1000) * 1000;
  return vectorCases.map((spec) => {
    const [leaf = ''] = spec.chain;
    const made = new Map(
      [...new Set([...spec.chain, ...spec.anchors])].map((name) => [name, certificateOf(spec, name, { keys, now })]),
    );
    const pick = (names: readonly string[]): readonly Uint8Array[] => names.flatMap((name) => made.get(name) ?? []);
    return {
      spec,
      chain: pick(spec.chain),
      anchors: pick(spec.anchors),
      leafKeyPem: keys.of(spec, leaf).key.export({ format: 'pem', type: 'pkcs8' }).toString(),
    };
  });
}

/** An entry of `index.json`; paths are relative to it. */
interface VectorEntry {
  readonly name: string;
  readonly rule: string;
  readonly source: string;
  readonly says: string;
  readonly trustDomain: string;
  readonly binding: VectorCase['binding'];
  readonly chain: string;
  readonly anchors: string;
  readonly key: string;
  readonly expected: VectorCase['expected'];
  readonly disagree: VectorCase['disagree'];
}

const idRule = { source: 'SPIFFE-ID §2', says: 'the URI SAN is a SPIFFE ID' };

function entryOf({ name, rule, trustDomain, binding, expected, disagree }: VectorCase): VectorEntry {
  const { source, says } = rule in rules ? rules[rule as keyof typeof rules] : idRule;
  const files = { chain: `${name}/chain.pem`, anchors: `${name}/anchors.pem`, key: `${name}/leaf.key` };
  return { name, rule, source, says, trustDomain, binding, ...files, expected, disagree };
}

/**
 * Writes every vector below `dir`, which must be new or empty, with `index.json` to say what each should come to.
 * @throws IsthmusError `conflict` if something is there, `unavailable` if it cannot be written
 */
export async function writeVectors(dir: string, at: number): Promise<readonly VectorCase[]> {
  try {
    await mkdir(dir, { recursive: true });
    if ((await readdir(dir)).length > 0) {
      throw new IsthmusError('conflict', `${dir} is not empty`, { hint: 'Name a new folder; nothing is overwritten.' });
    }
    const vectors = makeVectors(at);
    for (const { spec, chain, anchors, leafKeyPem } of vectors) {
      const { name, ...files } = entryOf(spec);
      await mkdir(join(dir, name));
      await writeFile(join(dir, files.chain), encodePemChain(chain));
      await writeFile(join(dir, files.anchors), encodePemChain(anchors));
      await writeFile(join(dir, files.key), leafKeyPem, { mode: 0o600 });
    }
    const index = { version: 1, at: new Date(at).toISOString(), vectors: vectors.map(({ spec }) => entryOf(spec)) };
    await writeFile(join(dir, 'index.json'), `${JSON.stringify(index, null, 2)}\n`);
    return vectors.map(({ spec }) => spec);
  } catch (thrown) {
    throw IsthmusError.from(thrown, 'unavailable');
  }
}
