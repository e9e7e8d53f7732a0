import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { z } from 'zod';
import { IsthmusError } from '../../model/error.ts';
import { readSecretFile, writeFileDurably } from '../../runtime/io/files.ts';

/** What makes guessing a passphrase dear. Recorded in each file, so that files of another cost stay readable. */
export interface ScryptCost {
  /** A power of two. Each doubling doubles time and memory (1 KiB × r × N = 128 MiB for the default). */
  readonly N: number;
}

/** About 0.4 s and 128 MiB. */
const defaultScryptCost: ScryptCost = { N: 1 << 17 };

const r = 8;
const p = 1;
const keyBytes = 32;

const schema = z.strictObject({
  version: z.literal(1),
  purpose: z.string().max(100),
  kdf: z.strictObject({
    name: z.literal('scrypt'),
    // The upper bound keeps a tampered file from taking all memory.
    N: z
      .number()
      .int()
      .min(1 << 10)
      .max(1 << 20),
    r: z.literal(r),
    p: z.literal(p),
    salt: z.base64(),
  }),
  cipher: z.literal('aes-256-gcm'),
  nonce: z.base64(),
  ciphertext: z.base64(),
  tag: z.base64(),
});

type Sealed = z.infer<typeof schema>;

/** Everything but the ciphertext is authenticated with it: nothing of the file can be changed unnoticed. */
function associatedData(sealed: Omit<Sealed, 'ciphertext' | 'tag'>): Buffer {
  const { version, purpose, kdf, cipher, nonce } = sealed;
  return Buffer.from(JSON.stringify([version, purpose, kdf.name, kdf.N, kdf.r, kdf.p, kdf.salt, cipher, nonce]));
}

function deriveKey(passphrase: Uint8Array, salt: Uint8Array, { N }: ScryptCost): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // scrypt needs 128·N·r bytes; Node refuses more than 32 MiB unless told.
    scrypt(passphrase, salt, keyBytes, { N, r, p, maxmem: 256 * N * r }, (cause, key) => {
      if (cause) reject(new IsthmusError('internal', 'Cannot derive a key from the passphrase', { cause }));
      else resolve(key);
    });
  });
}

export interface VaultEntry {
  /** Says what is inside; a file moved to another place does not open. */
  readonly purpose: string;
  readonly secret: Uint8Array;
  readonly passphrase: Uint8Array;
  readonly cost?: ScryptCost;
}

/** Seals a secret under a passphrase: scrypt, then AES-256-GCM. */
export async function sealSecret(entry: VaultEntry): Promise<Buffer> {
  const { N } = entry.cost ?? defaultScryptCost;
  const salt = randomBytes(16);
  const nonce = randomBytes(12);
  const head = {
    version: 1,
    purpose: entry.purpose,
    kdf: { name: 'scrypt', N, r, p, salt: salt.toString('base64') },
    cipher: 'aes-256-gcm',
    nonce: nonce.toString('base64'),
  } as const;
  const cipher = createCipheriv('aes-256-gcm', await deriveKey(entry.passphrase, salt, { N }), nonce);
  cipher.setAAD(associatedData(head));
  const ciphertext = Buffer.concat([cipher.update(entry.secret), cipher.final()]);
  const sealed: Sealed = {
    ...head,
    ciphertext: ciphertext.toString('base64'),
    tag: cipher.getAuthTag().toString('base64'),
  };
  return Buffer.from(`${JSON.stringify(sealed, undefined, 2)}\n`);
}

/** Writes a sealed secret: mode 0600, all or nothing. */
export async function writeVault(path: string, entry: VaultEntry): Promise<void> {
  await writeFileDurably(path, await sealSecret(entry));
}

export interface VaultKey {
  readonly purpose: string;
  readonly passphrase: Uint8Array;
}

/** Reads what `writeVault` wrote. @throws IsthmusError as `openSealed`, and `denied` for loose permissions */
export async function readVault(path: string, key: VaultKey): Promise<Buffer> {
  return openSealed(path, await readSecretFile(path), key);
}

/**
 * Opens what `sealSecret` made; `path` is for messages. @throws IsthmusError `denied` for a wrong passphrase or a tampered
 * file (they cannot be told apart), `corrupt` for one that is none of ours
 */
export async function openSealed(path: string, bytes: Buffer, { purpose, passphrase }: VaultKey): Promise<Buffer> {
  let sealed: Sealed;
  try {
    sealed = schema.parse(JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    throw new IsthmusError('corrupt', `${path} is not a sealed key of version 1`, { cause });
  }
  if (sealed.purpose !== purpose) {
    throw new IsthmusError('corrupt', `${path} holds '${sealed.purpose}', not '${purpose}'`);
  }
  const key = await deriveKey(passphrase, Buffer.from(sealed.kdf.salt, 'base64'), sealed.kdf);
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(sealed.nonce, 'base64'), { authTagLength: 16 });
    decipher.setAAD(associatedData(sealed));
    decipher.setAuthTag(Buffer.from(sealed.tag, 'base64'));
    return Buffer.concat([decipher.update(Buffer.from(sealed.ciphertext, 'base64')), decipher.final()]);
  } catch (cause) {
    throw new IsthmusError('denied', `Cannot open ${path}: wrong passphrase, or the file was changed`, { cause });
  }
}
