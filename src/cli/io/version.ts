import { readFileSync } from 'node:fs';

/** The version in `package.json`, which lies three folders up from `src/` and `dist/` alike. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(text) as { readonly version?: unknown };
  return typeof version === 'string' ? version : 'unknown';
}
