import { IsthmusError } from '../model/error.ts';

/** Nothing of ours nests deeper; what others send and we keep may try to. */
const maxDepth = 32;

/**
 * JSON with the keys of every object in order and without undefined members, so that equal values are equal bytes
 * whoever built them and in whatever order.
 * @throws IsthmusError `invalid` for what JSON cannot say, or nests deeper than 32.
 */
export function canonicalJson(value: unknown): string {
  return write(value, 0);
}

function write(value: unknown, depth: number): string {
  if (depth > maxDepth) throw new IsthmusError('invalid', `JSON must not nest deeper than ${maxDepth}`);
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new IsthmusError('invalid', `JSON cannot hold the number ${value}`);
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map((item) => write(item, depth + 1)).join(',')}]`;
  if (typeof value !== 'object') throw new IsthmusError('invalid', `JSON cannot hold a ${typeof value}`);
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${write(member, depth + 1)}`).join(',')}}`;
}
