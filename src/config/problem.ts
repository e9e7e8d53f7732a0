import { IsthmusError } from '../model/error.ts';

/** Where a value stands in its document: keys and indexes from the root. */
export type ValuePath = readonly (string | number)[];

/** One thing that is wrong with a configuration file. */
export interface Problem {
  /** 1-based. */
  readonly line: number;
  readonly path: ValuePath;
  /** What is wrong and what would be right, the present value included where it is safe to show. */
  readonly message: string;
}

/** More would hide the first ones; the rest is counted. */
const maxShown = 50;

/** `services[0].ports[1].name` */
export function formatPath(path: ValuePath): string {
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`)).join('');
}

/** `agent.yaml:12: listen.grpc: …`, as compilers write it, so that editors can jump there. */
export function formatProblem(file: string, problem: Problem): string {
  const path = formatPath(problem.path);
  return `${file}:${problem.line}: ${path === '' ? '' : `${path}: `}${problem.message}`;
}

/** One error for all problems of a file, in the order of its lines. */
export function problemsError(file: string, problems: readonly Problem[]): IsthmusError {
  const sorted = problems.toSorted((a, b) => a.line - b.line);
  const lines = sorted.slice(0, maxShown).map((problem) => formatProblem(file, problem));
  if (sorted.length > maxShown) lines.push(`… and ${sorted.length - maxShown} more`);
  return new IsthmusError('invalid', lines.join('\n'));
}

const secretKey = /pass|secret|token|key$/i;
/** `user:password@` of a URL. */
const userInfo = /\/\/[^/@\s]*@/;
const maxValueChars = 80;

/** A value as a message may show it: short, on one line, never a secret, and never the inside of a structure. */
export function showValue(value: unknown, path: ValuePath): string {
  if (value === null) return 'an empty value';
  if (Array.isArray(value)) return 'a list';
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return 'a mapping';
  if (path.some((part) => typeof part === 'string' && secretKey.test(part))) return 'a value that is not shown';
  const text = String(value).replace(userInfo, '//…@').replaceAll(/\s+/g, ' ');
  return `'${text.length > maxValueChars ? `${text.slice(0, maxValueChars)}…` : text}'`;
}
