import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { IsthmusError } from '../../model/error.ts';
import { authorityId, parseTrustDomain, type SpiffeId, type TrustDomain } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Svid } from '../../model/trust.ts';
import { ensurePrivateDir, readFileIfPresent, readSecretFile, writeFileDurably } from '../../runtime/io/files.ts';
import { authoritySealId } from '../verify/seal-id.ts';
import { decodePemChain, encodePemChain } from '../x509/pem.ts';
import { fingerprintOf, readCertificate } from '../x509/read.ts';
import { type Issuer, issue, issueRoot, issuerOf } from './issuer.ts';
import { generateKeyPem, signerOf } from './keys.ts';
import { readVault, type ScryptCost, writeVault } from './key-vault.ts';

/** Files of an authority's state directory. */
const files = (stateDir: string) =>
  ({
    /** Written last: without it nothing was initialised. */
    marker: join(stateDir, 'authority.json'),
    rootCertificate: join(stateDir, 'root.crt'),
    rootKey: join(stateDir, 'root.key.json'),
    identityKeys: join(stateDir, 'authority.keys.json'),
    passphrase: join(stateDir, 'passphrase'),
    database: join(stateDir, 'authority.db'),
  }) as const;

/** Where the authority keeps its decisions. */
export function databasePath(stateDir: string): string {
  return files(stateDir).database;
}

export interface InitAuthorityOptions {
  readonly stateDir: string;
  readonly federationDomain: TrustDomain;
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
}

/**
 * Makes a federation: root key and certificate, sealed under a passphrase.
 * @throws IsthmusError `conflict` if there is an authority already, `denied` for loose permissions
 */
export async function initAuthority(options: InitAuthorityOptions): Promise<InitAuthorityResult> {
  const { stateDir, federationDomain, clock, scryptCost } = options;
  const path = files(stateDir);
  await ensurePrivateDir(stateDir);
  for (const existing of [path.marker, path.rootKey, path.database]) {
    if ((await readFileIfPresent(existing)) === undefined) continue;
    throw new IsthmusError('conflict', `There is an authority in ${stateDir} already: ${existing} exists`, {
      hint: 'Choose another state directory; a root key is never overwritten.',
    });
  }
  const passphraseFile = options.passphraseFile ?? path.passphrase;
  if (options.passphraseFile === undefined) {
    await writeFileDurably(passphraseFile, `${randomBytes(24).toString('base64url')}\n`);
  }
  const passphrase = await readPassphrase(passphraseFile);
  const keyPem = generateKeyPem();
  const root = issueRoot(federationDomain, signerOf(keyPem), clock.now());
  const cost = scryptCost && { cost: scryptCost };
  await writeVault(path.rootKey, { purpose: 'root key', secret: Buffer.from(keyPem), passphrase, ...cost });
  await writeFileDurably(path.rootCertificate, encodePemChain([root.certificate]));
  await writeFileDurably(path.marker, `${JSON.stringify({ version: 1, federationDomain, ...scryptCost })}\n`);
  return {
    federationDomain,
    rootSha256: fingerprintOf(root.certificate),
    passphraseFile,
    passphraseGenerated: options.passphraseFile === undefined,
  };
}

async function readPassphrase(path: string): Promise<Buffer> {
  const passphrase = Buffer.from((await readSecretFile(path)).toString('utf8').replace(/\r?\n$/, ''));
  if (passphrase.length < 8) throw new IsthmusError('invalid', `The passphrase in ${path} is shorter than 8 bytes`);
  return passphrase;
}

const markerSchema = z.strictObject({
  version: z.literal(1),
  federationDomain: z.string().transform(parseTrustDomain),
  N: z.number().int().optional(),
});

const storedIdentity = z.strictObject({ certificate: z.base64(), keyPem: z.string() });
const identitySchema = z.strictObject({ tls: storedIdentity, seal: storedIdentity });
type StoredIdentities = z.infer<typeof identitySchema>;

/** The authority's two identities: one for TLS, one for seals. Chains without the root. */
export interface AuthorityIdentities {
  readonly tls: Svid;
  readonly seal: Svid;
}

/** The opened key material of an authority. */
export interface AuthorityKeys {
  readonly federationDomain: TrustDomain;
  readonly root: Issuer;
  /** Reads the stored identities, renewing what is past half of its life; true if something was renewed. */
  identities(now: number): Promise<{ readonly current: AuthorityIdentities; readonly renewed: boolean }>;
}

/**
 * Opens what `initAuthority` made. @throws IsthmusError `not-found` before init, `denied` for a wrong passphrase or
 * loose permissions, `corrupt` for damaged files
 */
export async function openAuthorityKeys(stateDir: string, passphraseFile?: string): Promise<AuthorityKeys> {
  const path = files(stateDir);
  const marker = await readFileIfPresent(path.marker);
  if (!marker) {
    throw new IsthmusError('not-found', `There is no authority in ${stateDir}`, {
      hint: `isthmus authority init --state ${stateDir} …`,
    });
  }
  await ensurePrivateDir(stateDir);
  const { federationDomain, N } = parseFile(path.marker, markerSchema, marker);
  const passphrase = await readPassphrase(passphraseFile ?? path.passphrase);
  const keyPem = await readVault(path.rootKey, { purpose: 'root key', passphrase });
  const certificate = decodePemChain((await readFileIfPresent(path.rootCertificate)) ?? Buffer.alloc(0))[0];
  const root = issuerOf(certificate ?? Buffer.alloc(0), signerOf(keyPem.toString('utf8')));
  if (!Buffer.from(readCertificate(root.certificate).spki).equals(root.signer.spki)) {
    throw new IsthmusError('corrupt', `${path.rootCertificate} is not the certificate of ${path.rootKey}`);
  }
  const purpose = 'authority identities';
  const save = (identities: StoredIdentities): Promise<void> =>
    writeVault(path.identityKeys, {
      purpose,
      secret: Buffer.from(JSON.stringify(identities)),
      passphrase,
      ...(N !== undefined && { cost: { N } }),
    });
  const stored = await readFileIfPresent(path.identityKeys);
  let held: StoredIdentities | undefined = stored
    ? parseFile(path.identityKeys, identitySchema, await readVault(path.identityKeys, { purpose, passphrase }))
    : undefined;
  return {
    federationDomain,
    root,
    async identities(now) {
      const tls = keepOrRenew(held?.tls, { root, profile: 'authority', id: authorityId(federationDomain), now });
      const seal = keepOrRenew(held?.seal, { root, profile: 'seal', id: authoritySealId(federationDomain), now });
      const renewed = tls !== held?.tls || seal !== held.seal;
      if (renewed) {
        const next = { tls, seal };
        await save(next);
        held = next;
      }
      const current = {
        tls: svidOf(authorityId(federationDomain), tls),
        seal: svidOf(authoritySealId(federationDomain), seal),
      };
      return { current, renewed };
    },
  };
}

function parseFile<T>(path: string, schema: z.ZodType<T>, bytes: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (cause) {
    throw new IsthmusError('corrupt', `${path} does not decode`, { cause });
  }
}

type StoredIdentity = z.infer<typeof storedIdentity>;

interface RenewSpec {
  readonly root: Issuer;
  readonly profile: 'authority' | 'seal';
  readonly id: SpiffeId;
  readonly now: number;
}

function keepOrRenew(stored: StoredIdentity | undefined, { root, profile, id, now }: RenewSpec): StoredIdentity {
  if (stored) {
    const { notBefore, notAfter } = readCertificate(Buffer.from(stored.certificate, 'base64'));
    if (now < notBefore + (notAfter - notBefore) / 2) return stored;
  }
  const keyPem = generateKeyPem();
  const { certificate } = issue(root, { profile, uri: id, spki: signerOf(keyPem).spki, now });
  return { certificate: Buffer.from(certificate).toString('base64'), keyPem };
}

function svidOf(id: SpiffeId, stored: StoredIdentity): Svid {
  const certificate = Buffer.from(stored.certificate, 'base64');
  const { notBefore, notAfter } = readCertificate(certificate);
  return { id, chain: [certificate], keyPem: stored.keyPem, notBefore, notAfter };
}
