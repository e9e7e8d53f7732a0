import { IsthmusError } from '../model/error.ts';
import type { ConfigDocument } from './document.ts';
import { formatPath, type ValuePath } from '../wire/value-path.ts';

/** Which file a configuration came from, and the line of each of its values. Plain data. */
export interface ConfigSource {
  readonly file: string;
  /** `listen.grpc` → 1-based line; only values that stand in the file. */
  readonly lines: ReadonlyMap<string, number>;
}

/** Collects the lines of every value in a document. */
export function sourceOf(document: ConfigDocument): ConfigSource {
  const lines = new Map<string, number>();
  const visit = (value: unknown, path: ValuePath): void => {
    if (path.length > 0) lines.set(formatPath(path), document.lineOf(path));
    if (typeof value !== 'object' || value === null) return;
    const entries: [string | number, unknown][] = Array.isArray(value)
      ? value.map((each, index) => [index, each])
      : Object.entries(value);
    for (const [key, each] of entries) visit(each, [...path, key]);
  };
  visit(document.value, []);
  return { file: document.file, lines };
}

/**
 * Says which line of which file is to blame for something that only showed when it was tried: a port in use, a key that
 * cannot be read. `path` as in the file: `listen.grpc`. Without a source, or with a default to blame, the path alone.
 */
export function blame(thrown: unknown, source: ConfigSource | undefined, path: string): IsthmusError {
  const error = IsthmusError.from(thrown);
  const line = source?.lines.get(path);
  const where = source === undefined ? '' : line === undefined ? `${source.file}: ` : `${source.file}:${line}: `;
  return new IsthmusError(error.code, `${where}${path}: ${error.message}`, {
    cause: thrown,
    ...(error.hint !== undefined && { hint: error.hint }),
  });
}
