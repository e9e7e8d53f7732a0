import { isMap, LineCounter, type ParsedNode, parseDocument } from 'yaml';
import type { ValuePath } from '../wire/value-path.ts';
import type { Problem } from './problem.ts';

/** A YAML text, read once: its plain value and the line of each part. */
export interface ConfigDocument {
  /** As messages name it. */
  readonly file: string;
  readonly value: unknown;
  /** What makes it no YAML document; `value` means nothing then. */
  readonly problems: readonly Problem[];
  /** 1-based line of a value, or of the nearest parent that exists. */
  lineOf(path: ValuePath): number;
  /** 1-based line of a key inside the mapping at `path`. */
  lineOfKey(path: ValuePath, key: string): number;
}

/** Enough for anchors that save typing, too few for a bomb. */
const maxAliases = 100;

/** Reads YAML 1.2 (core schema). Never throws: what is wrong is in `problems`. */
export function readDocument(file: string, text: string): ConfigDocument {
  const lines = new LineCounter();
  // `logLevel`: the library must not print; what it would warn of is among the problems.
  const options = {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
    merge: true,
    logLevel: 'error',
  } as const;
  const document = parseDocument(text, options);
  const lineAt = (offset: number | undefined): number => Math.max(1, lines.linePos(offset ?? 0).line);
  const problems: Problem[] = [...document.errors, ...document.warnings].map((error) => ({
    line: lineAt(error.pos[0]),
    path: [],
    message: `not valid YAML: ${error.message}`,
  }));
  let value: unknown;
  if (problems.length === 0) {
    try {
      value = document.toJS({ maxAliasCount: maxAliases });
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      problems.push({ line: 1, path: [], message: `not valid YAML: ${reason}` });
    }
  }
  const nodeAt = (path: ValuePath): ParsedNode | undefined =>
    (path.length === 0 ? document.contents : document.getIn(path, true)) as ParsedNode | undefined;
  const lineOf = (path: ValuePath): number => {
    for (let length = path.length; length > 0; length -= 1) {
      const parent = path.slice(0, length - 1);
      const key = path[length - 1];
      if (typeof key === 'string') {
        const line = keyLine(parent, key);
        if (line !== undefined) return line;
      } else {
        const range = nodeAt(path.slice(0, length))?.range;
        if (range) return lineAt(range[0]);
      }
    }
    return lineAt(document.contents?.range?.[0]);
  };
  const keyLine = (path: ValuePath, key: string): number | undefined => {
    const node = nodeAt(path);
    if (!isMap<ParsedNode>(node)) return undefined;
    const pair = node.items.find((item) => String((item.key as { value?: unknown }).value) === key);
    return pair ? lineAt(pair.key.range?.[0]) : undefined;
  };
  return {
    file,
    value,
    problems,
    lineOf,
    lineOfKey: (path, key) => keyLine(path, key) ?? lineOf(path),
  };
}
