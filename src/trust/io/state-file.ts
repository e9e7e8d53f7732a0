import { z } from 'zod';
import { IsthmusError } from '../../model/error.ts';
import { readFileIfPresent, readSecretFile, writeFileDurably } from '../../runtime/io/files.ts';

/** Bytes inside of a JSON state file. */
export const base64Bytes: z.ZodType<Uint8Array, string> = z.base64().transform((text) => Buffer.from(text, 'base64'));

/** The spelling that `base64Bytes` reads. */
export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

/** One JSON file of a state directory: validated when read, written all or nothing, 0600. */
export class StateFile<T> {
  readonly path: string;
  readonly #schema: z.ZodType<T>;
  /** The write under way and what follows it; more is never needed, since the newest wins. */
  #writing: Promise<void> | undefined;
  #next: string | undefined;

  constructor(path: string, schema: z.ZodType<T>) {
    this.path = path;
    this.#schema = schema;
  }

  async exists(): Promise<boolean> {
    return (await readFileIfPresent(this.path)) !== undefined;
  }

  /** Undefined: there is none. @throws IsthmusError `denied` if others can read it, `corrupt` if it does not decode */
  async read(): Promise<T | undefined> {
    if (!(await this.exists())) return undefined;
    const bytes = await readSecretFile(this.path);
    try {
      return this.#schema.parse(JSON.parse(bytes.toString('utf8')));
    } catch {
      // The cause could quote a key.
      throw new IsthmusError('corrupt', `${this.path} does not decode`, {
        hint: 'Restore it, or remove the state directory and join again.',
      });
    }
  }

  /** Resolves once this value, or a newer one, is on disk. @throws IsthmusError `unavailable` */
  write(value: unknown): Promise<void> {
    this.#next = `${JSON.stringify(value)}\n`;
    this.#writing ??= this.#flush();
    return this.#writing;
  }

  /** Resolves when no write is under way. */
  async settled(): Promise<void> {
    // Whoever wrote was told of a failure.
    await this.#writing?.catch(() => undefined);
  }

  async #flush(): Promise<void> {
    try {
      while (this.#next !== undefined) {
        const text = this.#next;
        this.#next = undefined;
        await writeFileDurably(this.path, text);
      }
    } finally {
      this.#writing = undefined;
    }
  }
}
