import { IsthmusError } from '../../model/error.ts';
import { authorityId, type SpiffeId, type TrustDomain } from '../../model/identity.ts';
import type { Svid } from '../../model/trust.ts';
import { ensurePrivateDir, readFileIfPresent } from '../../runtime/io/files.ts';
import { checkIssued } from '../authority/anchor-check.ts';
import { authoritySealId } from '../verify/seal-id.ts';
import { decodePemChain } from '../x509/pem.ts';
import { readCertificate } from '../x509/read.ts';
import {
  type AuthorityFiles,
  authorityFiles,
  readAuthorityMarker,
  readAuthorityPassphrase,
} from './authority-files.ts';
import { IdentityVault, type StoredIdentity } from './identity-vault.ts';
import { type Issuer, issue, issuerOf } from './issuer.ts';
import { createCsr, generateKeyPem, signerOf } from './keys.ts';
import { readVault } from './key-vault.ts';

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
  const { federationDomain, N } = await readAuthorityMarker(stateDir);
  await ensurePrivateDir(stateDir);
  const passphrase = await readAuthorityPassphrase(stateDir, passphraseFile);
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
