import { readFileSync, writeFileSync } from 'node:fs';
import { isDuration, limitKey, type LimitName, limitNames, limitSpecs } from '../src/model/gateway-limits.ts';
import { refusalReasons } from '../src/gateway/metrics/refusals.ts';
import { formatDuration } from '../src/runtime/duration.ts';

/**
 * Writes `docs/reference/limits.md` from the table that the gateway and its file are checked by.
 * `node scripts/limits-page.ts --write`; without it, fails when the page is another one.
 */

const page = new URL('../docs/reference/limits.md', import.meta.url);

const introduction = `# Limits of a gateway

<!-- Made from src/model/gateway-limits.ts and src/gateway/metrics/refusals.ts by \`node scripts/limits-page.ts --write\`; a test compares. -->

Set under \`limits:\` in the gateway's file; what is absent has the default. Each shows as \`isthmus_limit{limit}\` on the
metrics port, under its name there; those that can fill up also as \`isthmus_limit_used{limit}\`; what a limit has turned
away as \`isthmus_refusals_total{reason="limit-…"}\`. Limits per service are policy, not limits of the gateway:
\`connection.maxConnections\` and \`connection.maxPending\`.

| key | metric label | default | from | to | bounds | when it is reached |
|---|---|---|---|---|---|---|
`;

const refusals = `
## What is turned away

\`isthmus_refusals_total{reason}\` counts under \`limit-\` and the metric label of a limit above, or the name of a limit of
the service's policy, and under these. The log has a line for each peer and minute at most, with the whole story and
the number of those that were left out since the last one.

| reason | what it was, and what becomes of it |
|---|---|
`;

function shown(name: LimitName, value: number): string {
  return isDuration(name) ? formatDuration(value) : String(value);
}

/** The page as it should be. */
export function limitsPage(): string {
  const rows = limitNames.map((name) => {
    const spec = limitSpecs[name];
    const range = [spec.default, spec.min, spec.max].map((value) => shown(name, value));
    return `| ${[`\`${limitKey(name)}\``, `\`${name}\``, ...range, spec.about, spec.reached].join(' | ')} |\n`;
  });
  const reasons = Object.entries(refusalReasons).map(([reason, about]) => `| \`${reason}\` | ${about} |\n`);
  return introduction + rows.join('') + refusals + reasons.join('');
}

if (import.meta.main) {
  if (process.argv.includes('--write')) writeFileSync(page, limitsPage());
  else if (readFileSync(page, 'utf8') !== limitsPage()) {
    console.error('docs/reference/limits.md is not what the code says: node scripts/limits-page.ts --write');
    process.exitCode = 1;
  }
}
