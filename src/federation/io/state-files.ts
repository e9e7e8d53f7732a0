import { rm } from 'node:fs/promises';
import { ensurePrivateDir, readFileIfPresent, writeFileDurably } from '../../runtime/io/files.ts';

/** Where a publisher or reader keeps what must survive it. Rejections are `IsthmusError`s that name the path. */
export interface StateFiles {
  /** Makes it private to this user, or refuses one that is not. */
  ensureDir(path: string): Promise<void>;
  /** Undefined: there is none. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** All or nothing, and durable when it resolves. */
  write(path: string, data: Uint8Array | string): Promise<void>;
  remove(path: string): Promise<void>;
}

/** The file system of this machine. */
export const diskFiles: StateFiles = {
  ensureDir: ensurePrivateDir,
  read: readFileIfPresent,
  write: writeFileDurably,
  remove: (path) => rm(path, { force: true }),
};
