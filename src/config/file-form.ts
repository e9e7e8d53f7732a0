import { formatHostPort } from '../model/address.ts';
import { formatDuration } from '../runtime/duration.ts';

/** Keys that are called otherwise in a file. */
const fileNames: ReadonlyMap<string, string> = new Map([['exported', 'export']]);

/**
 * A configuration in the words of a file, every default written out: durations and addresses as text, maps as
 * mappings. Reading the result gives an equal configuration.
 */
export function toFileForm(value: unknown): unknown {
  if (value instanceof Map) return toFileForm(Object.fromEntries(value));
  if (Array.isArray(value)) return value.map((each) => toFileForm(each));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, each]) => each !== undefined && !isSource(each));
  const [first, second] = entries;
  if (entries.length === 2 && first?.[0] === 'host' && second?.[0] === 'port') {
    return formatHostPort({ host: String(first[1]), port: Number(second[1]) });
  }
  if (entries.length === 2 && first?.[0] === 'from' && second?.[0] === 'to') {
    return first[1] === second[1] ? String(first[1]) : `${String(first[1])}-${String(second[1])}`;
  }
  return Object.fromEntries(
    entries.map(([key, each]) =>
      key.endsWith('Ms') && typeof each === 'number'
        ? [key.slice(0, -2), formatDuration(each)]
        : [fileNames.get(key) ?? key, toFileForm(each)],
    ),
  );
}

/** Where a configuration came from is no part of it. */
function isSource(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'lines' in value && value.lines instanceof Map;
}
