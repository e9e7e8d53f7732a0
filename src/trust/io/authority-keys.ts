import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { IsthmusError } from '../../model/error.ts';
import { authorityId, parseTrustDomain, type SpiffeId, type TrustDomain } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Svid } from '../../model/trust.ts';
import { ensurePrivateDir, readFileIfPresent, readSecretFile, writeFileDurably } from '../../runtime/io/files.ts';
import { checkFederationDomain } from '../authority/admission.ts';
import { checkAnchor, checkIssued } from '../authority/anchor-check.ts';
import { authoritySealId } from '../verify/seal-id.ts';
import { decodePemChain, encodePemChain } from '../x509/pem.ts';
import { fingerprintOf, readCertificate } from '../x509/read.ts';
import { type Issuer, issue, issueRoot, issuerOf } from './issuer.ts';
import { createCsr, generateKeyPem, signerOf } from './keys.ts';
import { readVault, type ScryptCost, writeVault } from './key-vault.ts';

/** Files of an authority's state directory. */
export interface AuthorityFiles {
  /** Written last: without it nothing was initialised. */
  readonly marker: string;
  readonly rootCertificate: string;
  /** Missing where the root is kept offline. */
  readonly rootKey: string;
  readonly identityKeys: string;
  readonly passphrase: string;
  readonly database: string;
}

export function authorityFiles(stateDir: string): AuthorityFiles {
  return {
    marker: join(stateDir, 'authority.json'),
    rootCertificate: join(stateDir, 'root.crt'),
    rootKey: join(stateDir, 'root.key.json'),
    identityKeys: join(stateDir, 'authority.keys.json'),
    passphrase: join(stateDir, 'passphrase'),
    database: join(stateDir, 'authority.db'),
  };
}

/** Where the root comes from. */
export type RootOrigin =
  /** A new one is made here. */
  | { readonly kind: 'new' }
  /** An existing root, or an intermediate below a corporate one, with its key. PEM files. */
  | { readonly kind: 'import'; readonly certificateFile: string; readonly keyFile: string }
  /** Its key stays elsewhere and signs by file. */
  | { readonly kind: 'offline'; readonly certificateFile: string };

export interface InitAuthorityOptions {
  readonly stateDir: string;
  readonly federationDomain: TrustDomain;
  /** Default: a new one. */
  readonly root?: RootOrigin;
  /** Default: one is generated at `<stateDir>/passphrase` (0600), which protects against little but stray copies. */
  readonly passphraseFile?: string;
  readonly clock: Pick<Clock, 'now'>;
  /** A lower cost is for demonstrations and tests only; it is recorded in the files. */
  readonly scryptCost?: ScryptCost;
}

export interface InitAuthorityResult {
  readonly federationDomain: TrustDomain;
  /** Lower-case hex SHA-256 of the root certificate: what every join token pins. */
  readonly rootSha256: string;
  readonly passphraseFile: string;
  /** True: it was generated here and somebody should put it elsewhere. */
  readonly passphraseGenerated: boolean;
  /** What the operator should know of the anchor. */
  readonly warnings: readonly string[];
}

/**
 * Makes a federation: root key and certificate, sealed under a passphrase.
 * @throws IsthmusError `conflict` if there is an authority already, `denied` for loose permissions, `invalid` for an
 * unfit domain or anchor; nothing is then left behind but the directory
 */
export async function initAuthority(options: InitAuthorityOptions): Promise<InitAuthorityResult> {
  const { stateDir, clock, scryptCost, root = { kind: 'new' } } = options;
  const federationDomain = checkFederationDomain(options.federationDomain);
  const path = authorityFiles(stateDir);
  await ensurePrivateDir(stateDir);
  for (const existing of [path.marker, path.rootKey, path.database]) {
    if ((await readFileIfPresent(existing)) === undefined) continue;
    throw new IsthmusError('conflict', `There is an authority in ${stateDir} already: ${existing} exists`, {
      hint: 'Choose another state directory; a root key is never overwritten.',
    });
  }
  const origin = await obtainRoot(root, federationDomain, clock.now());
  const passphraseFile = options.passphraseFile ?? path.passphrase;
  const passphraseGenerated = options.passphraseFile === undefined;
  // One that is there is of an attempt that did not finish.
  if (passphraseGenerated && (await readFileIfPresent(passphraseFile)) === undefined) {
    await writeFileDurably(passphraseFile, `${randomBytes(24).toString('base64url')}\n`);
  }
  const passphrase = await readPassphrase(passphraseFile);
  const cost = scryptCost && { cost: scryptCost };
  await writeFileDurably(path.rootCertificate, encodePemChain([origin.certificate]));
  if (origin.keyPem !== undefined) {
    await writeVault(path.rootKey, { purpose: 'root key', secret: Buffer.from(origin.keyPem), passphrase, ...cost });
  }
  await writeFileDurably(path.marker, `${JSON.stringify({ version: 1, federationDomain, ...scryptCost })}\n`);
  return {
    federationDomain,
    rootSha256: fingerprintOf(origin.certificate),
    passphraseFile,
    passphraseGenerated,
    warnings: anchorWarnings(origin.certificate),
  };
}

interface ObtainedRoot {
  /** DER. */
  readonly certificate: Uint8Array;
  readonly keyPem?: string;
}

async function obtainRoot(origin: RootOrigin, federationDomain: TrustDomain, now: number): Promise<ObtainedRoot> {
  if (origin.kind === 'new') {
    const keyPem = generateKeyPem();
    return { certificate: issueRoot(federationDomain, signerOf(keyPem), now).certificate, keyPem };
  }
  const { certificateFile } = origin;
  const bytes = await readFileIfPresent(certificateFile);
  if (!bytes) throw new IsthmusError('invalid', `There is no certificate at ${certificateFile}`);
  const certificate = firstCertificate(certificateFile, bytes);
  const { spki } = checkAnchor(certificate, now);
  if (origin.kind === 'offline') return { certificate };
  const keyPem = (await readSecretFile(origin.keyFile)).toString('latin1');
  if (keyPem.includes('ENCRYPTED')) {
    throw new IsthmusError('invalid', `The key in ${origin.keyFile} is encrypted`, {
      hint: `openssl pkey -in ${origin.keyFile} -out key.pem decrypts it; remove key.pem afterwards.`,
    });
  }
  if (!Buffer.from(signerOf(keyPem).spki).equals(spki)) {
    throw new IsthmusError('invalid', `The key in ${origin.keyFile} is not that of ${certificateFile}`);
  }
  return { certificate, keyPem };
}

/** The first certificate of a PEM file of anyone, or the DER itself. */
function firstCertificate(path: string, bytes: Buffer): Uint8Array {
  if (bytes[0] === 0x30) return bytes;
  const block = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----/.exec(
    bytes.toString('latin1'),
  );
  if (!block?.[1]) throw new IsthmusError('invalid', `There is no certificate in ${path}`);
  return Buffer.from(block[1], 'base64');
}

function anchorWarnings(der: Uint8Array): readonly string[] {
  const { basicConstraints, issuer, subject } = readCertificate(der);
  const { pathLen } = basicConstraints ?? {};
  return [
    ...(pathLen === 1
      ? ['Its pathLen of 1 leaves no room for a cross certificate: a rotation of the root needs a pathLen of 2.']
      : []),
    ...(Buffer.from(issuer).equals(subject)
      ? []
      : ['It is no root: peers other than Isthmus must accept a chain that ends with an intermediate.']),
  ];
}

async function readPassphrase(path: string): Promise<Buffer> {
  const passphrase = Buffer.from((await readSecretFile(path)).toString('utf8').replace(/\r?\n$/, ''));
  if (passphrase.length < 8) throw new IsthmusError('invalid', `The passphrase in ${path} is shorter than 8 bytes`);
  return passphrase;
}

/** Reads the passphrase of a state directory, or of the file that holds it. @throws IsthmusError `invalid`, `denied` */
export function readAuthorityPassphrase(stateDir: string, passphraseFile?: string): Promise<Buffer> {
  return readPassphrase(passphraseFile ?? authorityFiles(stateDir).passphrase);
}

const markerSchema = z.strictObject({
  version: z.literal(1),
  federationDomain: z.string().transform(parseTrustDomain),
  N: z.number().int().optional(),
});

const storedIdentity = z.strictObject({ certificate: z.base64(), keyPem: z.string() });
const identitySchema = z.strictObject({
  tls: z.exactOptional(storedIdentity),
  seal: z.exactOptional(storedIdentity),
  /** Keys that an offline root has been or will be asked to certify. */
  nextTls: z.exactOptional(z.string()),
  nextSeal: z.exactOptional(z.string()),
});
type StoredIdentities = z.infer<typeof identitySchema>;
type StoredIdentity = z.infer<typeof storedIdentity>;

/** The authority's two identities: one for TLS, one for seals. Chains without the root. */
export interface AuthorityIdentities {
  readonly tls: Svid;
  readonly seal: Svid;
}

/** One of them. */
export type IdentityKind = keyof AuthorityIdentities;

/** An identity that only an offline root can certify. */
export interface IdentityRequest {
  readonly kind: IdentityKind;
  readonly id: SpiffeId;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** PKCS#10, DER. */
  readonly csr: Uint8Array;
}

/** The opened key material of an authority. */
export interface AuthorityKeys {
  readonly federationDomain: TrustDomain;
  /** DER: the root, or the intermediate that stands for it. */
  readonly anchor: Uint8Array;
  /** Undefined: the root is kept offline. */
  readonly root: Issuer | undefined;
  /**
   * Reads the stored identities; with the root at hand, it renews what is past half of its life. `current` is undefined
   * until an offline root has signed both, and when one has expired.
   */
  identities(now: number): Promise<{ readonly current: AuthorityIdentities | undefined; readonly renewed: boolean }>;
  /** What an offline root is to sign, with keys that are kept until it has: those missing or past half of their life. */
  requests(now: number): Promise<readonly IdentityRequest[]>;
  /** Takes what an offline root has signed. @throws IsthmusError `invalid` if it is not what was asked for */
  accept(kind: IdentityKind, certificate: Uint8Array, now: number): Promise<void>;
}

/**
 * Opens what `initAuthority` made. @throws IsthmusError `not-found` before init, `denied` for a wrong passphrase or
 * loose permissions, `corrupt` for damaged files
 */
export async function openAuthorityKeys(stateDir: string, passphraseFile?: string): Promise<AuthorityKeys> {
  const path = authorityFiles(stateDir);
  const marker = await readFileIfPresent(path.marker);
  if (!marker) {
    throw new IsthmusError('not-found', `There is no authority in ${stateDir}`, {
      hint: `isthmus authority init --state-dir ${stateDir} …`,
    });
  }
  await ensurePrivateDir(stateDir);
  const { federationDomain, N } = parseFile(path.marker, markerSchema, marker);
  const passphrase = await readPassphrase(passphraseFile ?? path.passphrase);
  const certificate = decodePemChain((await readFileIfPresent(path.rootCertificate)) ?? Buffer.alloc(0))[0];
  const anchor = certificate ?? Buffer.alloc(0);
  const root = await openRoot(path, anchor, passphrase);
  const vault = new IdentityVault({ path: path.identityKeys, passphrase, ...(N !== undefined && { cost: { N } }) });
  await vault.open();
  return new OpenedKeys({ federationDomain, anchor, root, vault });
}

async function openRoot(path: AuthorityFiles, anchor: Uint8Array, passphrase: Uint8Array): Promise<Issuer | undefined> {
  if ((await readFileIfPresent(path.rootKey)) === undefined) return undefined;
  const keyPem = await readVault(path.rootKey, { purpose: 'root key', passphrase });
  const root = issuerOf(anchor, signerOf(keyPem.toString('utf8')));
  if (!Buffer.from(readCertificate(anchor).spki).equals(root.signer.spki)) {
    throw new IsthmusError('corrupt', `${path.rootCertificate} is not the certificate of ${path.rootKey}`);
  }
  return root;
}

interface VaultOptions {
  readonly path: string;
  readonly passphrase: Uint8Array;
  readonly cost?: ScryptCost;
}

/** The file with the keys of the authority's own identities. */
class IdentityVault {
  static readonly #purpose = 'authority identities';
  readonly #options: VaultOptions;
  #held: StoredIdentities = {};

  constructor(options: VaultOptions) {
    this.#options = options;
  }

  get held(): StoredIdentities {
    return this.#held;
  }

  async open(): Promise<void> {
    const { path, passphrase } = this.#options;
    if ((await readFileIfPresent(path)) === undefined) return;
    const bytes = await readVault(path, { purpose: IdentityVault.#purpose, passphrase });
    this.#held = parseFile(path, identitySchema, bytes);
  }

  async save(next: StoredIdentities): Promise<void> {
    const { path, ...rest } = this.#options;
    await writeVault(path, { purpose: IdentityVault.#purpose, secret: Buffer.from(JSON.stringify(next)), ...rest });
    this.#held = next;
  }
}

interface KeyParts {
  readonly federationDomain: TrustDomain;
  readonly anchor: Uint8Array;
  readonly root: Issuer | undefined;
  readonly vault: IdentityVault;
}

const identityProfiles = { tls: 'authority', seal: 'seal' } as const;
const nextNames = { tls: 'nextTls', seal: 'nextSeal' } as const;
const identityKinds: readonly IdentityKind[] = ['tls', 'seal'];

class OpenedKeys implements AuthorityKeys {
  readonly federationDomain: TrustDomain;
  readonly anchor: Uint8Array;
  readonly root: Issuer | undefined;
  readonly #vault: IdentityVault;

  constructor({ federationDomain, anchor, root, vault }: KeyParts) {
    this.federationDomain = federationDomain;
    this.anchor = anchor;
    this.root = root;
    this.#vault = vault;
  }

  async identities(now: number): ReturnType<AuthorityKeys['identities']> {
    const { root } = this;
    const renewed = root ? await this.#renew(root, now) : false;
    const { tls, seal } = this.#vault.held;
    const current = tls && seal && { tls: this.#svid('tls', tls), seal: this.#svid('seal', seal) };
    const alive = current && now < current.tls.notAfter && now < current.seal.notAfter;
    return { current: alive ? current : undefined, renewed };
  }

  async requests(now: number): Promise<readonly IdentityRequest[]> {
    const { held } = this.#vault;
    const wanted = identityKinds.filter((kind) => isPastHalf(held[kind], now));
    const missing = wanted.filter((kind) => held[nextNames[kind]] === undefined);
    if (missing.length > 0) {
      const keys = missing.map((kind): [string, string] => [nextNames[kind], generateKeyPem()]);
      await this.#vault.save({ ...held, ...Object.fromEntries(keys) });
    }
    return wanted.flatMap((kind) => {
      const keyPem = this.#vault.held[nextNames[kind]];
      if (keyPem === undefined) return [];
      const signer = signerOf(keyPem);
      return [{ kind, id: this.#idOf(kind), spki: signer.spki, csr: createCsr(signer) }];
    });
  }

  async accept(kind: IdentityKind, certificate: Uint8Array, now: number): Promise<void> {
    const { [nextNames[kind]]: keyPem, ...held } = this.#vault.held;
    const uri = this.#idOf(kind);
    if (keyPem === undefined) throw new IsthmusError('invalid', `Nothing was asked for ${uri}`);
    const expected = { profile: identityProfiles[kind], uri, spki: signerOf(keyPem).spki, permitted: undefined };
    checkIssued(certificate, { ...expected, anchor: this.anchor, now });
    await this.#vault.save({ ...held, [kind]: { certificate: Buffer.from(certificate).toString('base64'), keyPem } });
  }

  async #renew(root: Issuer, now: number): Promise<boolean> {
    const { held } = this.#vault;
    const due = identityKinds.filter((kind) => isPastHalf(held[kind], now));
    if (due.length === 0) return false;
    const renewed = due.map((kind): [string, StoredIdentity] => {
      const keyPem = generateKeyPem();
      const order = { profile: identityProfiles[kind], uri: this.#idOf(kind), spki: signerOf(keyPem).spki, now };
      return [kind, { certificate: Buffer.from(issue(root, order).certificate).toString('base64'), keyPem }];
    });
    await this.#vault.save({ ...held, ...Object.fromEntries(renewed) });
    return true;
  }

  #idOf(kind: IdentityKind): SpiffeId {
    return kind === 'tls' ? authorityId(this.federationDomain) : authoritySealId(this.federationDomain);
  }

  #svid(kind: IdentityKind, stored: StoredIdentity): Svid {
    const certificate = Buffer.from(stored.certificate, 'base64');
    const { notBefore, notAfter } = readCertificate(certificate);
    return { id: this.#idOf(kind), chain: [certificate], keyPem: stored.keyPem, notBefore, notAfter };
  }
}

function isPastHalf(stored: StoredIdentity | undefined, now: number): boolean {
  if (!stored) return true;
  const { notBefore, notAfter } = readCertificate(Buffer.from(stored.certificate, 'base64'));
  return now >= notBefore + (notAfter - notBefore) / 2;
}

function parseFile<T>(path: string, schema: z.ZodType<T>, bytes: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (cause) {
    throw new IsthmusError('corrupt', `${path} does not decode`, { cause });
  }
}
