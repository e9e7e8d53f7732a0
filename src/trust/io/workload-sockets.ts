import type { Stats } from 'node:fs';
import { lchown, lstat, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { IsthmusError } from '../../model/error.ts';
import { listenUnix, type UnixServer, type UnixServerOptions } from '../../runtime/io/unix-socket.ts';

/** Longest path that every platform's `sockaddr_un` holds, in bytes. */
const maxPathBytes = 103;

export interface OwnedSocketOptions extends UnixServerOptions {
  /** Who may open it: the directory and the socket become this user's. */
  readonly uid: number;
}

/**
 * Listens on a socket that one user only can reach: it lies in a 0700 directory of that user. Node cannot ask who is
 * at the other end of a Unix socket, so that reaching it is the proof.
 *
 * While the socket is made the directory is this process's, so that its user can put nothing in the way.
 * @throws IsthmusError `invalid`, `denied`, `conflict`, `unavailable`, naming the path
 */
export async function listenOwned(options: OwnedSocketOptions): Promise<UnixServer> {
  const { path, uid } = options;
  if (Buffer.byteLength(path) > maxPathBytes) {
    throw new IsthmusError('invalid', `A socket's path must have at most ${maxPathBytes} bytes: ${path} has more`);
  }
  const self = process.getuid?.() ?? uid;
  if (self !== 0 && self !== uid) {
    throw new IsthmusError('denied', `Cannot give ${path} to uid ${uid}: this process is uid ${self}, not root`);
  }
  const directory = dirname(path);
  await checkParent(dirname(directory), self);
  await claimDirectory(directory, { self, uid });
  const server = await listenUnix(options);
  try {
    await give(path, uid);
    await give(directory, uid);
  } catch (thrown) {
    await server.close();
    throw thrown;
  }
  return server;
}

/** Who may rename things in the parent could put another directory in place of ours. */
async function checkParent(parent: string, self: number): Promise<void> {
  const info = await look(parent);
  const open = (info.mode & 0o022) !== 0 && (info.mode & 0o1000) === 0;
  if (open || (info.uid !== 0 && info.uid !== self)) {
    throw new IsthmusError(
      'denied',
      `${parent} must belong to root or uid ${self} and be writable for nobody else: it is of uid ${info.uid}, mode ${(info.mode & 0o7777).toString(8)}`,
    );
  }
}

async function claimDirectory(directory: string, { self, uid }: { self: number; uid: number }): Promise<void> {
  await mkdir(directory, { mode: 0o700 }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EEXIST') throw cannot('make', directory, cause);
  });
  const found = await look(directory);
  if (found.uid !== uid && found.uid !== self) {
    throw new IsthmusError('denied', `${directory} must belong to uid ${uid}: it is of uid ${found.uid}`);
  }
  if (found.uid !== self) await give(directory, self);
  const info = await look(directory);
  if (!info.isDirectory() || info.uid !== self) {
    throw new IsthmusError('denied', `${directory} must be a directory of its own for one identity`);
  }
  if ((info.mode & 0o077) !== 0) {
    const mode = (info.mode & 0o777).toString(8);
    throw new IsthmusError('denied', `${directory} must be closed to others (0700): its mode is ${mode}`, {
      hint: `chmod 700 ${directory}`,
    });
  }
}

async function look(path: string): Promise<Stats> {
  try {
    return await lstat(path);
  } catch (cause) {
    throw cannot('look at', path, cause);
  }
}

/** Never follows a link. */
async function give(path: string, uid: number): Promise<void> {
  try {
    const { gid } = await lstat(path);
    await lchown(path, uid, gid);
  } catch (cause) {
    throw cannot(`give to uid ${uid}`, path, cause);
  }
}

function cannot(verb: string, path: string, cause: unknown): IsthmusError {
  const { code } = cause as NodeJS.ErrnoException;
  return new IsthmusError(
    code === 'ENOENT' ? 'invalid' : 'unavailable',
    `Cannot ${verb} ${path}: ${code ?? 'failed'}`,
    {
      cause,
    },
  );
}
