const units: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

const syntax = /^(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)$/;

/** Parses `250ms`, `1.5s`, `5m`, `12h`, `30d` into whole milliseconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = syntax.exec(text);
  const factor = units.get(match?.[2] ?? '');
  if (!match || factor === undefined) return undefined;
  const ms = Number(match[1]) * factor;
  return Number.isInteger(ms) ? ms : undefined;
}

/** The shortest text that `parseDuration` reads back as `ms` (a whole number of milliseconds). */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  const [unit, factor] = [...units].findLast(([, each]) => ms % each === 0) ?? ['ms', 1];
  return `${ms / factor}${unit}`;
}
