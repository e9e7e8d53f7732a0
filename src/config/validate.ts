import type { z } from 'zod';
import { judge } from '../wire/schema.ts';
import type { ConfigDocument } from './document.ts';
import type { Problem } from './problem.ts';

/** What a validation came to: the value, or everything that is wrong with it. */
export type Validated<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Runs `schema` over a document and reports everything that is wrong at once. */
export function validate<T>(schema: z.ZodType<T>, document: ConfigDocument): Validated<T> {
  if (document.problems.length > 0) return { ok: false, problems: document.problems };
  const judged = judge(schema, document.value ?? {});
  if (judged.ok) return judged;
  const problems = judged.faults.map(({ path, message, unknownKey }): Problem => {
    const key = path.at(-1);
    const line =
      unknownKey && typeof key === 'string' ? document.lineOfKey(path.slice(0, -1), key) : document.lineOf(path);
    return { line, path, message };
  });
  return { ok: false, problems };
}
