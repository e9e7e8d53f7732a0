import { open } from 'node:fs/promises';
import { dirname, resolve as resolvePath } from 'node:path';
import { IsthmusError } from '../../model/error.ts';
import { type ConfigDocument, readDocument } from '../document.ts';
import { type ConfigByKind, type ConfigKind, kindOf, parseConfig } from '../kind.ts';
import { problemsError } from '../problem.ts';
import { parseServicesFile, type ServicesFile } from '../services-file.ts';
import { blame, type ConfigSource } from '../source.ts';
import { readSecretFile } from '../../runtime/io/files.ts';

/** A larger file is not a configuration. */
const maxConfigBytes = 4 << 20;

/** Why a file could not be read, in words. */
const reasons: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'there is no such file'],
  ['EACCES', 'this user may not read it'],
  ['EISDIR', 'it is a directory'],
]);

async function readText(file: string): Promise<string> {
  try {
    const handle = await open(file, 'r');
    try {
      const { size } = await handle.stat();
      if (size > maxConfigBytes) {
        throw new IsthmusError(
          'invalid',
          `${file} is ${size} bytes long; a configuration has at most ${maxConfigBytes}`,
        );
      }
      return await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if (cause instanceof IsthmusError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code ?? '';
    throw new IsthmusError('invalid', `Cannot read configuration ${file}: ${reasons.get(code) ?? code}`, { cause });
  }
}

/** Reads a YAML file. @throws IsthmusError `invalid` when it cannot be read */
async function loadDocument(file: string): Promise<ConfigDocument> {
  return readDocument(file, await readText(file));
}

/**
 * Reads and validates the configuration file of one role. Touches nothing else.
 * @throws IsthmusError `invalid`, all problems in its message, one a line
 */
export async function loadConfig<Kind extends ConfigKind>(kind: Kind, file: string): Promise<ConfigByKind[Kind]> {
  return interpret(kind, await loadDocument(file));
}

/** Reads the services that a file of their own lists. @throws IsthmusError `invalid`, all problems in its message */
export async function loadServicesFile(file: string): Promise<ServicesFile> {
  const result = parseServicesFile(await loadDocument(file));
  if (!result.ok) throw problemsError(file, result.problems);
  return result.value;
}

/** As `loadConfig`, for whichever role the file is. @throws IsthmusError `invalid` */
export async function loadAnyConfig(
  file: string,
  wanted?: ConfigKind,
): Promise<{ readonly kind: ConfigKind; readonly config: ConfigByKind[ConfigKind] }> {
  const document = await loadDocument(file);
  if (document.problems.length > 0) throw problemsError(file, document.problems);
  const kind = wanted ?? kindOf(document);
  if (kind === undefined) {
    throw new IsthmusError('invalid', `${file}:1: role: is required: 'authority', 'agent' or 'gateway'`);
  }
  return { kind, config: interpret(kind, document) };
}

function interpret<Kind extends ConfigKind>(kind: Kind, document: ConfigDocument): ConfigByKind[Kind] {
  const folder = dirname(resolvePath(document.file));
  const result = parseConfig(kind, document, (path) => resolvePath(folder, path));
  if (!result.ok) throw problemsError(document.file, result.problems);
  return result.value;
}

/**
 * The secret in a 0600 file that a configuration names: its first line.
 * @throws IsthmusError naming file, line and path of the value that named it
 */
export async function readConfiguredSecret(
  secretFile: string,
  source: ConfigSource | undefined,
  path: string,
): Promise<string> {
  try {
    const text = (await readSecretFile(secretFile)).toString('utf8');
    const [first = ''] = text.split(/\r?\n/, 1);
    if (first === '') throw new IsthmusError('invalid', `Secret file ${secretFile} has an empty first line`);
    return first;
  } catch (thrown) {
    throw blame(thrown, source, path);
  }
}
