/** Where a value stands in its document: keys and indexes from the root. */
export type ValuePath = readonly (string | number)[];

/** `services[0].ports[1].name` */
export function formatPath(path: ValuePath): string {
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`)).join('');
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
