import { readFile } from 'node:fs/promises';
import type { AuthorityTools } from '../cli/authority-tools.ts';
import { IsthmusError } from '../model/error.ts';
import { systemClock } from '../runtime/io/clock.ts';
import { readFileIfPresent, writeFileDurably } from '../runtime/io/files.ts';
import { restoreBackup, writeBackup } from '../trust/io/authority-backup.ts';
import { authorityFiles } from '../trust/io/authority-files.ts';
import { signOffline } from '../trust/io/authority-signing.ts';
import { AuthorityStore } from '../trust/io/authority-store.ts';

/** What the authority's verbs do without a running authority. */
export const authorityTools: AuthorityTools = {
  async sign({ stateDir, passphraseFile, request, out }) {
    if ((await readFileIfPresent(out)) !== undefined) throw new IsthmusError('conflict', `${out} exists already`);
    const { response, requestSha256, subjects } = await signOffline({
      stateDir,
      request: await readRequest(request),
      clock: systemClock,
      ...(passphraseFile !== undefined && { passphraseFile }),
    });
    await writeFileDurably(out, response);
    return { file: out, requestSha256, subjects };
  },
  async backup({ stateDir, passphraseFile, out }) {
    const { marker, database } = authorityFiles(stateDir);
    if ((await readFileIfPresent(marker)) === undefined) {
      throw new IsthmusError('not-found', `There is no authority in ${stateDir}`);
    }
    const store = new AuthorityStore(database);
    try {
      return await writeBackup({
        stateDir,
        out,
        copyTo: (path) => store.copyTo(path),
        clock: systemClock,
        ...(passphraseFile !== undefined && { passphraseFile }),
      });
    } finally {
      store.close();
    }
  },
  restore: (question) => restoreBackup({ ...question, clock: systemClock }),
};

async function readRequest(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new IsthmusError('invalid', `Cannot read ${path}`, { cause });
  }
}
