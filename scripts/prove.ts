// Long proofs: what takes minutes, or programs that `npm run setup` does not bring.
//
//   npm run prove -- gateway                     all of them, one JSON object a line
//   npm run prove -- gateway --only kill,freeze  some of them
//   npm run prove -- gateway --only http-fuzz --seconds 600 --seed 1
//
// Exits 1 when one fails.
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';

/** For proofs that are random, or as long as one likes. */
export interface ProofOptions {
  readonly seconds?: number;
  readonly seed?: number;
}

/** One proof. Throws what failed; returns the figures that it took. */
export type Proof = (options?: ProofOptions) => Promise<object>;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string' }, seconds: { type: 'string' }, seed: { type: 'string' } },
});
const [name = ''] = positionals;
const file = new URL(`prove-${name}.ts`, import.meta.url);

function usage(message: string): never {
  process.stderr.write(
    `${message}\nUsage: npm run prove -- <gateway|federation|trust> [--only proof,proof] [--seconds N] [--seed N]\n`,
  );
  process.exit(2);
}

if (!/^[a-z]+$/.test(name) || !existsSync(file)) usage(`There are no proofs of '${name}'`);
const { proofs } = (await import(file.href)) as { proofs: Readonly<Record<string, Proof>> };
const only = values.only?.split(',') ?? Object.keys(proofs);
const unknown = only.filter((what) => !Object.hasOwn(proofs, what));
if (unknown.length > 0) usage(`No proof '${unknown.join(', ')}': there are ${Object.keys(proofs).join(', ')}`);

function integer(flag: 'seconds' | 'seed'): { [of in typeof flag]?: number } {
  const text = values[flag];
  if (text === undefined) return {};
  if (!/^[1-9]\d{0,9}$/.test(text)) usage(`--${flag} must be a positive integer: current value is ${text}`);
  return { [flag]: Number(text) };
}
const options: ProofOptions = { ...integer('seconds'), ...integer('seed') };

let failed = 0;
for (const what of only) {
  const started = performance.now();
  let line: object;
  try {
    line = { ok: true, ...(await proofs[what]?.(options)) };
  } catch (thrown) {
    failed += 1;
    line = { ok: false, error: thrown instanceof Error ? thrown.message : String(thrown) };
  }
  const seconds = Number(((performance.now() - started) / 1000).toFixed(1));
  process.stdout.write(`${JSON.stringify({ prove: name, what, ...line, seconds })}\n`);
}
process.exit(failed === 0 ? 0 : 1);
