// Long proofs: what takes minutes, or programs that `npm run setup` does not bring.
//
//   npm run prove -- gateway                     all of them, one JSON object a line
//   npm run prove -- gateway --only kill,freeze  some of them
//
// Exits 1 when one fails.
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';

/** One proof. Throws what failed; returns the figures that it took. */
export type Proof = () => Promise<object>;

const { values, positionals } = parseArgs({ allowPositionals: true, options: { only: { type: 'string' } } });
const [name = ''] = positionals;
const file = new URL(`prove-${name}.ts`, import.meta.url);

function usage(message: string): never {
  process.stderr.write(`${message}\nUsage: npm run prove -- <gateway|federation|trust> [--only proof,proof]\n`);
  process.exit(2);
}

if (!/^[a-z]+$/.test(name) || !existsSync(file)) usage(`There are no proofs of '${name}'`);
const { proofs } = (await import(file.href)) as { proofs: Readonly<Record<string, Proof>> };
const only = values.only?.split(',') ?? Object.keys(proofs);
const unknown = only.filter((what) => !Object.hasOwn(proofs, what));
if (unknown.length > 0) usage(`No proof '${unknown.join(', ')}': there are ${Object.keys(proofs).join(', ')}`);

let failed = 0;
for (const what of only) {
  const started = performance.now();
  let line: object;
  try {
    line = { ok: true, ...(await proofs[what]?.()) };
  } catch (thrown) {
    failed += 1;
    line = { ok: false, error: thrown instanceof Error ? thrown.message : String(thrown) };
  }
  const seconds = Number(((performance.now() - started) / 1000).toFixed(1));
  process.stdout.write(`${JSON.stringify({ prove: name, what, ...line, seconds })}\n`);
}
process.exit(failed === 0 ? 0 : 1);
