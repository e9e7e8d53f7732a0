import { randomBytes } from 'node:crypto';
import { IsthmusError } from '../../model/error.ts';
import type { TrustDomain } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import { ensurePrivateDir, readFileIfPresent, readSecretFile, writeFileDurably } from '../../runtime/io/files.ts';
import { checkFederationDomain } from '../authority/admission.ts';
import { checkAnchor } from '../authority/anchor-check.ts';
import { encodePemChain } from '../x509/pem.ts';
import { fingerprintOf, readCertificate } from '../x509/read.ts';
import { authorityFiles, readAuthorityPassphrase } from './authority-files.ts';
import { issueRoot } from './issuer.ts';
import { generateKeyPem, signerOf } from './keys.ts';
import { type ScryptCost, writeVault } from './key-vault.ts';

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
  const passphrase = await readAuthorityPassphrase(stateDir, passphraseFile);
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
