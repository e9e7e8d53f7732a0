import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { IsthmusError } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { BackupReport } from '../../model/trust-report.ts';
import { ensurePrivateDir, readFileIfPresent, readSecretFile, writeFileDurably } from '../../runtime/io/files.ts';
import { authorityFiles, readAuthorityPassphrase } from './authority-files.ts';
import { AuthorityStore } from './authority-store.ts';
import { openSealed, type ScryptCost, sealSecret } from './key-vault.ts';

/** A restored roster goes on this far ahead: what was published after the backup must not come twice. */
const sequenceJump = 1000;
const purpose = 'authority backup';
/** A federation of thousands of clusters over years. */
const maxBackupBytes = 1 << 30;

const schema = z.strictObject({
  version: z.literal(1),
  createdAt: z.number(),
  files: z.strictObject({
    marker: z.base64(),
    rootCertificate: z.base64(),
    rootKey: z.exactOptional(z.base64()),
    identityKeys: z.exactOptional(z.base64()),
  }),
  database: z.base64(),
});

export interface BackupOptions {
  readonly stateDir: string;
  /** Seals the backup; default: that of the authority. The keys inside stay sealed under the authority's own. */
  readonly passphraseFile?: string;
  readonly out: string;
  /** Writes a consistent copy of the database to a path. */
  readonly copyTo: (path: string) => void | Promise<void>;
  readonly clock: Pick<Clock, 'now'>;
  readonly scryptCost?: ScryptCost;
}

/**
 * Writes everything of an authority but its passphrase into one file, encrypted.
 * @throws IsthmusError `conflict` if the file exists, `denied`, `invalid`, `unavailable`
 */
export async function writeBackup(options: BackupOptions): Promise<BackupReport> {
  const { stateDir, out, copyTo, clock, scryptCost } = options;
  if ((await readFileIfPresent(out)) !== undefined) {
    throw new IsthmusError('conflict', `${out} exists already`, { hint: 'A backup never overwrites one.' });
  }
  const passphrase = await readAuthorityPassphrase(stateDir, options.passphraseFile);
  const path = authorityFiles(stateDir);
  const scratch = await mkdtemp(join(stateDir, 'backup-'));
  try {
    const copy = join(scratch, 'authority.db');
    await copyTo(copy);
    const [marker, rootCertificate, rootKey, identityKeys] = await Promise.all(
      [path.marker, path.rootCertificate, path.rootKey, path.identityKeys].map(readFileIfPresent),
    );
    const content = {
      version: 1,
      createdAt: clock.now(),
      files: {
        marker: (marker ?? Buffer.alloc(0)).toString('base64'),
        rootCertificate: (rootCertificate ?? Buffer.alloc(0)).toString('base64'),
        ...(rootKey && { rootKey: rootKey.toString('base64') }),
        ...(identityKeys && { identityKeys: identityKeys.toString('base64') }),
      },
      database: (await readFile(copy)).toString('base64'),
    };
    const secret = Buffer.from(JSON.stringify(content));
    const sealed = await sealSecret({ purpose, secret, passphrase, ...(scryptCost && { cost: scryptCost }) });
    await writeFileDurably(out, sealed);
    return { file: out, bytes: sealed.length, ...inspect(copy, clock.now()) };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function inspect(database: string, now: number): Pick<BackupReport, 'rosterSequence' | 'records'> {
  const store = new AuthorityStore(database);
  try {
    const { roster, journal } = store.load(now);
    return { rosterSequence: roster?.sequence ?? 0, records: journal.records };
  } finally {
    store.close();
  }
}

export interface RestoreOptions {
  readonly stateDir: string;
  readonly from: string;
  /** Opens the backup. */
  readonly passphraseFile: string;
  readonly clock: Pick<Clock, 'now'>;
}

/**
 * Makes a state directory from a backup. Rosters go on 1,000 sequences later, and no join token of then is good any
 * more, because it may have been redeemed since.
 * @throws IsthmusError `conflict` if there is an authority already, `denied` for a wrong passphrase, `corrupt`
 */
export async function restoreBackup(options: RestoreOptions): Promise<BackupReport> {
  const { stateDir, from, clock } = options;
  await ensurePrivateDir(stateDir);
  const path = authorityFiles(stateDir);
  for (const existing of [path.marker, path.rootKey, path.database]) {
    if ((await readFileIfPresent(existing)) === undefined) continue;
    throw new IsthmusError('conflict', `There is an authority in ${stateDir} already: ${existing} exists`);
  }
  const passphrase = await readAuthorityPassphrase(stateDir, options.passphraseFile);
  const file = await readSecretFile(from);
  if (file.length > maxBackupBytes) {
    throw new IsthmusError('invalid', `${from} of ${file.length} bytes is over the limit of ${maxBackupBytes}`);
  }
  const { files, database, createdAt } = parseContent(from, await openSealed(from, file, { purpose, passphrase }));
  const bytes = (text: string): Buffer => Buffer.from(text, 'base64');
  await writeFileDurably(path.database, bytes(database));
  const store = new AuthorityStore(path.database);
  let report: Pick<BackupReport, 'rosterSequence' | 'records'>;
  try {
    const detail = `backup of ${new Date(createdAt).toISOString()}; rosters go on ${sequenceJump} later`;
    store.restart({ at: clock.now(), who: 'operator', what: 'restore', subject: from, detail }, sequenceJump);
    const { rosterFloor, journal } = store.load(clock.now());
    report = { rosterSequence: rosterFloor, records: journal.records };
  } finally {
    store.close();
  }
  await writeFileDurably(path.rootCertificate, bytes(files.rootCertificate));
  if (files.rootKey !== undefined) await writeFileDurably(path.rootKey, bytes(files.rootKey));
  if (files.identityKeys !== undefined) await writeFileDurably(path.identityKeys, bytes(files.identityKeys));
  // Last, as at the beginning of every authority: without it nothing was restored.
  await writeFileDurably(path.marker, bytes(files.marker));
  return { file: from, bytes: file.length, ...report };
}

function parseContent(from: string, secret: Buffer): z.infer<typeof schema> {
  try {
    return schema.parse(JSON.parse(secret.toString('utf8')));
  } catch (cause) {
    throw new IsthmusError('corrupt', `${from} is not a backup of version 1`, { cause });
  }
}
