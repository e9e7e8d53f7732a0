import { IsthmusError } from '../model/error.ts';

/** Fields of a request's JSON object. */
export type Fields = Readonly<Record<string, unknown>>;

/** A token lives at most so long (trust.md, "Joining and issuing"). */
const maxTtlMs = 15 * 60_000;
const maxTextChars = 300;

/** The body as an object with none but these fields. @throws IsthmusError `invalid` */
export function bodyOf(body: unknown, known: readonly string[]): Fields {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new IsthmusError('invalid', `The body must be a JSON object with ${known.join(', ')}`);
  }
  for (const key of Object.keys(body)) {
    if (!known.includes(key)) {
      throw new IsthmusError('invalid', `The body must have only ${known.join(', ')}: there is '${key.slice(0, 80)}'`);
    }
  }
  return body as Fields;
}

/** A required text. @throws IsthmusError `invalid` */
export function textField(fields: Fields, key: string): string {
  const value = fields[key];
  if (typeof value === 'string' && value !== '' && value.length <= maxTextChars) return value;
  throw new IsthmusError('invalid', `'${key}' must be text of 1 to ${maxTextChars} characters`);
}

/** An optional duration of at most 15 minutes, in ms. @throws IsthmusError `invalid` */
export function durationField(fields: Fields, key: string): number | undefined {
  const value = fields[key];
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1000 && value <= maxTtlMs) return value;
  throw new IsthmusError(
    'invalid',
    `'${key}' must be from 1000 to ${maxTtlMs} ms: current value is ${JSON.stringify(value)}`,
  );
}

/** An optional flag; absent: no. @throws IsthmusError `invalid` */
export function flagField(fields: Fields, key: string): boolean | undefined {
  const value = fields[key];
  if (value === undefined || typeof value === 'boolean') return value;
  throw new IsthmusError('invalid', `'${key}' must be true or false: current value is ${JSON.stringify(value)}`);
}

/** An optional text. @throws IsthmusError `invalid` */
export function optionalText(fields: Fields, key: string): string | undefined {
  return fields[key] === undefined ? undefined : textField(fields, key);
}

/** An optional list of texts. @throws IsthmusError `invalid` */
export function listField(fields: Fields, key: string): readonly string[] | undefined {
  const value = fields[key];
  if (value === undefined) return undefined;
  if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value;
  throw new IsthmusError('invalid', `'${key}' must be a list of texts`);
}

/** An optional mapping from names to values of one type. @throws IsthmusError `invalid` */
export function mapField<T extends 'string' | 'number'>(
  fields: Fields,
  key: string,
  type: T,
): Readonly<Record<string, T extends 'string' ? string : number>> | undefined {
  const value = fields[key];
  if (value === undefined) return undefined;
  const fits = (each: unknown): boolean => typeof each === type;
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every(fits)) {
    return value as Readonly<Record<string, T extends 'string' ? string : number>>;
  }
  throw new IsthmusError('invalid', `'${key}' must be a mapping of names to ${type}s`);
}
