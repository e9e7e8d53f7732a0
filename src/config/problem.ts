import { IsthmusError } from '../model/error.ts';
import { formatPath, type ValuePath } from '../wire/value-path.ts';

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
