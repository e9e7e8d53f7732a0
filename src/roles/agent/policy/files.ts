import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { messageOf } from '../../../model/error.ts';
import type { Clock, Timer } from '../../../model/ports/clock.ts';
import type { Log } from '../../../model/ports/log.ts';
import { describeFaults, parsePolicy } from '../../../policy/parse.ts';
import { type Policy, policyKey } from '../../../policy/policy.ts';
import type { PolicyFile } from './own-records.ts';

export interface PolicyFilesOptions {
  /** Files, or folders of `.yaml` and `.yml` files. */
  readonly paths: readonly string[];
  readonly onFiles: (files: readonly PolicyFile[]) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

/** How often files are looked at. */
const pollMs = 1000;
const maxFiles = 1000;
const maxFileBytes = 1 << 20;
/** Enough for anchors that save typing, too few for a bomb. */
const maxAliases = 100;

/** Follows policy files. A file that is not right changes nothing of what it said before. */
export class PolicyFiles {
  readonly #options: PolicyFilesOptions;
  #texts = new Map<string, string>();
  #files: readonly PolicyFile[] = [];
  #problems: readonly string[] = [];
  #timer: Timer | undefined;
  #closed = false;
  #reading: Promise<void> = Promise.resolve();

  constructor(options: PolicyFilesOptions) {
    this.#options = options;
  }

  /** One sentence for each file that is not right. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Reads everything once; then by itself. */
  async start(): Promise<void> {
    if (this.#options.paths.length === 0) return;
    this.#reading = this.#look();
    await this.#reading;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#reading;
  }

  async #look(): Promise<void> {
    const { clock, log, onFiles, paths } = this.#options;
    try {
      const { texts, problems } = await readAll(paths);
      if (!sameTexts(texts, this.#texts) || problems.length !== this.#unread) {
        this.#unread = problems.length;
        this.#texts = texts;
        const read = [...texts].map(([path, text]) => interpret(path, text));
        this.#files = withUnreadable(
          read.map(({ file }) => file),
          this.#files,
          problems,
        );
        this.#problems = [...problems.map(({ message }) => message), ...read.flatMap((each) => each.problems)];
        for (const problem of this.#problems) log.error({}, `policy file: ${problem}; what it said before stays`);
        await onFiles(this.#files);
      }
    } catch (thrown) {
      log.error({ reason: messageOf(thrown) }, 'cannot take over policy files');
    }
    if (!this.#closed) {
      this.#timer = clock.schedule(pollMs, () => {
        this.#reading = this.#look();
      });
    }
  }

  #unread = 0;
}

interface Unread {
  readonly path: string;
  readonly message: string;
}

/** A path that cannot be read says nothing about what it held. */
function withUnreadable(
  read: readonly PolicyFile[],
  before: readonly PolicyFile[],
  unread: readonly Unread[],
): readonly PolicyFile[] {
  if (unread.length === 0) return read;
  const kept = before.filter(({ file }) => !read.some((each) => each.file === file));
  const named = unread.map(({ path }) => ({ file: basename(path), policies: undefined }));
  return [...read, ...kept.map(({ file }) => ({ file, policies: undefined })), ...named];
}

async function readAll(paths: readonly string[]): Promise<{ texts: Map<string, string>; problems: Unread[] }> {
  const texts = new Map<string, string>();
  const problems: Unread[] = [];
  for (const path of paths) {
    try {
      for (const file of await filesAt(path)) {
        const { size } = await stat(file);
        if (size > maxFileBytes)
          problems.push({ path: file, message: `${file} has ${size} bytes, more than ${maxFileBytes}` });
        else texts.set(file, await readFile(file, 'utf8'));
      }
    } catch (thrown) {
      problems.push({ path, message: `${path} cannot be read: ${messageOf(thrown)}` });
    }
  }
  return { texts, problems };
}

async function filesAt(path: string): Promise<readonly string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => /\.ya?ml$/.test(name) && !name.startsWith('.')).sort();
  return names.slice(0, maxFiles).map((name) => join(path, name));
}

function sameTexts(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([path, text]) => b.get(path) === text);
}

interface Interpreted {
  readonly file: PolicyFile;
  readonly problems: readonly string[];
}

function interpret(path: string, text: string): Interpreted {
  const file = basename(path);
  const { policies, problems } = readPolicies(text);
  return {
    file: { file, policies: problems.length === 0 ? policies : undefined },
    problems: problems.map((problem) => `${path}: ${problem}`),
  };
}

/** All policies of a YAML text with any number of documents, and all that is wrong with it. */
function readPolicies(text: string): {
  readonly policies: readonly Policy[];
  readonly problems: readonly string[];
} {
  const policies = new Map<string, Policy>();
  const problems: string[] = [];
  for (const [index, document] of parseAllDocuments(text, { prettyErrors: false, logLevel: 'error' }).entries()) {
    const where = `document ${index + 1}: `;
    const [error] = document.errors;
    if (error) {
      problems.push(`${where}not valid YAML: ${error.message}`);
      continue;
    }
    const value: unknown = document.toJS({ maxAliasCount: maxAliases });
    if (value === null) continue;
    const parsed = parsePolicy(value);
    if (!parsed.ok) problems.push(`${where}${describeFaults(parsed.faults)}`);
    else if (policies.has(policyKey(parsed.policy.name))) {
      problems.push(`${where}${policyKey(parsed.policy.name)} is there twice`);
    } else policies.set(policyKey(parsed.policy.name), parsed.policy);
  }
  return { policies: [...policies.values()], problems };
}
