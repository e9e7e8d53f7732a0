import { z } from 'zod';
import { suggest } from './suggest.ts';
import { formatPath, showValue, type ValuePath } from './value-path.ts';

/** The words in which documents that people write (configurations, policies) are described, and judged. */

/** One thing that is wrong with a value. */
export interface Fault {
  readonly path: ValuePath;
  /** What is wrong and what would be right, the present value included where it is safe to show. */
  readonly message: string;
  /** The last part of the path is a key that must not be there. */
  readonly unknownKey: boolean;
}

/** A value that has the form of its schema, or everything that is wrong with it. */
export type Judged<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly faults: readonly Fault[] };

/** Joins the known keys of a mapping inside an issue's message; no key contains it. */
const keySeparator = '\n';

/**
 * A mapping of exactly these keys. The known keys travel in the issue, for the suggestion. `expected` completes the
 * sentence "must be …" when there is something else in its place.
 */
export function section<Shape extends z.ZodRawShape>(
  shape: Shape,
  expected = 'a mapping',
): z.ZodObject<Shape, z.core.$strict> {
  const known = Object.keys(shape).join(keySeparator);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === 'unrecognized_keys') return known;
      return issue.input === undefined ? `is required: ${expected}` : `must be ${expected}`;
    },
  });
}

/**
 * A value without parts. `expected` completes the sentence "must be …"; `parse` answers undefined, or throws with its
 * own reason, for what is not that.
 */
export function scalar<T>(expected: string, parse: (value: unknown) => T | undefined): z.ZodType<T> {
  return z.unknown().transform((value, context) => {
    let reason = `must be ${expected}`;
    if (value === undefined) reason = `is required: ${expected}`;
    else {
      try {
        const parsed = parse(value);
        if (parsed !== undefined) return parsed;
      } catch (thrown) {
        if (thrown instanceof Error) reason = thrown.message;
      }
    }
    context.addIssue({ code: 'custom', message: reason });
    return z.NEVER;
  });
}

/** A scalar that is text, and not the empty one. */
export function fromText<T>(expected: string, parse: (value: string) => T | undefined): z.ZodType<T> {
  return scalar(expected, (value) => (typeof value === 'string' && value !== '' ? parse(value) : undefined));
}

/** A whole number between two bounds, both inclusive. */
export function count(min: number, max: number): z.ZodType<number> {
  return scalar(`a whole number from ${min} to ${max}`, (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : undefined,
  );
}

/** `70%`, or the same as a number from 0 to 1. The result is 0 to 1. */
export const share: z.ZodType<number> = scalar(`a share such as '70%', from 0% to 100%`, (value) => {
  const percent = typeof value === 'string' ? /^(\d{1,3}(?:\.\d{1,3})?)%$/.exec(value)?.[1] : undefined;
  const given = percent === undefined ? value : Number(percent) / 100;
  return typeof given === 'number' && given >= 0 && given <= 1 ? given : undefined;
});

/** Runs `schema` over a value and reports everything that is wrong at once. */
export function judge<T>(schema: z.ZodType<T>, value: unknown): Judged<T> {
  const result = schema.safeParse(value);
  if (result.success) return { ok: true, value: result.data };
  return { ok: false, faults: result.error.issues.flatMap((issue) => faultsOf(issue, value)) };
}

function faultsOf(issue: z.core.$ZodIssue, root: unknown): Fault[] {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  if (issue.code === 'unrecognized_keys') {
    const known = issue.message.split(keySeparator);
    return issue.keys.map((key) => ({
      path: [...path, key],
      message: unknownKey(key, known, path),
      unknownKey: true,
    }));
  }
  const found = locate(root, path);
  const shown = found.value === undefined ? '' : `${showValue(found.value, found.path)} `;
  return [{ path: found.path, message: withValue(messageOf(issue, found.value), shown), unknownKey: false }];
}

function unknownKey(key: string, known: readonly string[], path: ValuePath): string {
  const meant = suggest(key, known);
  if (meant !== undefined) return `unknown key; did you mean '${meant}'?`;
  return `unknown key; ${path.length === 0 ? 'the file' : `'${formatPath(path)}'`} may have ${known.join(', ')}`;
}

/** Own reasons may quote the value already ("…: current value is 'x'"); then it is not put in front again. */
function withValue(message: string, shown: string): string {
  return message.includes('current value is') || !message.startsWith('must') ? message : `${shown}${message}`;
}

function messageOf(issue: z.core.$ZodIssue, value: unknown): string {
  // Own reasons, and those of `section`, are sentences already.
  if (issue.code === 'custom' || (issue.code === 'invalid_type' && issue.expected === 'object')) return issue.message;
  const verb = value === undefined ? 'is required:' : 'must be';
  if (issue.code === 'invalid_type') return `${verb} ${typeNames.get(issue.expected) ?? issue.expected}`;
  if (issue.code === 'invalid_value') return `${verb} ${issue.values.map((each) => `'${String(each)}'`).join(' or ')}`;
  const what = 'origin' in issue && issue.origin === 'array' ? 'have' : 'be';
  if (issue.code === 'too_small') return `must ${what} at least ${issue.minimum}`;
  if (issue.code === 'too_big') return `must ${what} at most ${issue.maximum}`;
  return `must be right: ${issue.message}`;
}

const typeNames: ReadonlyMap<string, string> = new Map([
  ['record', 'a mapping'],
  ['array', 'a list'],
  ['string', 'text'],
  ['boolean', 'true or false'],
  ['number', 'a number'],
  ['int', 'a whole number'],
]);

/** The value at `path`, or the plain value in which the path ends early: a short form stands for a mapping there. */
function locate(root: unknown, path: ValuePath): { readonly path: ValuePath; readonly value: unknown } {
  let value = root;
  for (const [depth, part] of path.entries()) {
    if (value === undefined) return { path, value };
    if (typeof value !== 'object' || value === null) return { path: path.slice(0, depth), value };
    value = (value as Readonly<Record<string | number, unknown>>)[part];
  }
  return { path, value };
}
