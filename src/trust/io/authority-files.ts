import { join } from 'node:path';
import { z } from 'zod';
import { IsthmusError } from '../../model/error.ts';
import { parseTrustDomain, type TrustDomain } from '../../model/identity.ts';
import { readFileIfPresent, readSecretFile } from '../../runtime/io/files.ts';

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

async function readPassphrase(path: string): Promise<Buffer> {
  const passphrase = Buffer.from((await readSecretFile(path)).toString('utf8').replace(/\r?\n$/, ''));
  if (passphrase.length < 8) throw new IsthmusError('invalid', `The passphrase in ${path} is shorter than 8 bytes`);
  return passphrase;
}

/** Reads the passphrase of a state directory, or of the file that holds it. @throws IsthmusError `invalid`, `denied` */
export function readAuthorityPassphrase(stateDir: string, passphraseFile?: string): Promise<Buffer> {
  return readPassphrase(passphraseFile ?? authorityFiles(stateDir).passphrase);
}

/** What an authority was initialised as. */
export interface AuthorityMarker {
  readonly federationDomain: TrustDomain;
  /** Cost of its keys' encryption; undefined: the usual one. */
  readonly N?: number | undefined;
}

const markerSchema = z.strictObject({
  version: z.literal(1),
  federationDomain: z.string().transform(parseTrustDomain),
  N: z.number().int().optional(),
});

/** @throws IsthmusError `not-found` before init, `corrupt` */
export async function readAuthorityMarker(stateDir: string): Promise<AuthorityMarker> {
  const { marker } = authorityFiles(stateDir);
  const bytes = await readFileIfPresent(marker);
  if (bytes) return parseAuthorityFile(marker, markerSchema, bytes);
  throw new IsthmusError('not-found', `There is no authority in ${stateDir}`, {
    hint: `isthmus authority init --state-dir ${stateDir} …`,
  });
}

/** What a file of ours holds. @throws IsthmusError `corrupt`, naming it */
export function parseAuthorityFile<T>(path: string, schema: z.ZodType<T>, bytes: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (cause) {
    throw new IsthmusError('corrupt', `${path} does not decode`, { cause });
  }
}
