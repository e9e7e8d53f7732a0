import { randomBytes } from 'node:crypto';
import { lstat, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { IsthmusError } from '../../model/error.ts';

/** Makes a private directory (0700) if there is none; refuses one that others can enter or that is not ours. */
export async function ensurePrivateDir(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const info = await lstat(path);
  if (!info.isDirectory()) throw new IsthmusError('invalid', `State directory ${path} is not a directory`);
  const uid = process.getuid?.();
  if (uid !== undefined && info.uid !== uid) {
    throw new IsthmusError('denied', `State directory ${path} belongs to uid ${info.uid}, this process is uid ${uid}`);
  }
  if ((info.mode & 0o077) !== 0) {
    const mode = (info.mode & 0o777).toString(8);
    throw new IsthmusError('denied', `State directory ${path} is open to others (mode ${mode})`, {
      hint: `chmod 700 ${path}`,
    });
  }
}

/** Writes all or nothing, durably: temporary file, fsync, rename, fsync of the directory. Mode 0600. */
export async function writeFileDurably(path: string, data: Uint8Array | string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new IsthmusError('unavailable', `Cannot write ${path}`, { cause });
  }
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** The file's bytes, or undefined if there is none. @throws IsthmusError `unavailable` for any other reason */
export async function readFileIfPresent(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new IsthmusError('unavailable', `Cannot read ${path}`, { cause });
  }
}

/** Reads a secret and refuses a file that others can read. */
export async function readSecretFile(path: string): Promise<Buffer> {
  let info: Awaited<ReturnType<typeof lstat>>;
  try {
    info = await lstat(path);
  } catch (cause) {
    throw new IsthmusError('invalid', `Cannot read ${path}`, { cause });
  }
  if (info.isFile() && (info.mode & 0o077) !== 0) {
    throw new IsthmusError(
      'denied',
      `Secret file ${path} is readable by others (mode ${(info.mode & 0o777).toString(8)})`,
      {
        hint: `chmod 600 ${path}`,
      },
    );
  }
  try {
    return await readFile(path);
  } catch (cause) {
    throw new IsthmusError('invalid', `Cannot read ${path}`, { cause });
  }
}
