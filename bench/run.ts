// Benchmarks side by side with what others use.
//
//   npm run bench -- tunnel                       a table
//   npm run bench -- tunnel --json                one JSON object a line
//   npm run bench -- tunnel --rounds 7 --seconds 3 --only kept_rps,bulk_gbps
import { existsSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import type { BenchRow } from './row.ts';

interface Bench {
  /** Programs that must be installed. */
  readonly needs: readonly string[];
  run(options: { rounds: number; seconds: number; only?: readonly string[] }): Promise<BenchRow[]>;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    only: { type: 'string' },
  },
});
const [name = ''] = positionals;
const file = new URL(`${name}.ts`, import.meta.url);

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

function count(flag: 'rounds' | 'seconds'): number {
  const value = Number(values[flag]);
  if (!Number.isInteger(value) || value < 1)
    fail(`--${flag} must be a positive integer: current value is ${values[flag]}`);
  return value;
}

if (!/^[a-z]+$/.test(name) || ['run', 'row', 'program'].includes(name) || !existsSync(file)) {
  fail(
    `No benchmark '${name}'. Usage: npm run bench -- <tunnel|http|policy|federation|trust> [--json] [--rounds N] [--seconds N] [--only row,row]`,
  );
}
const bench = (await import(file.href)) as Bench;
const missing = bench.needs.filter((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0);
if (missing.length > 0) fail(`Benchmark '${name}' needs ${missing.join(', ')}: run \`npm run setup -- bench\``);

const only = values.only?.split(',');
const rows = await bench.run({ rounds: count('rounds'), seconds: count('seconds'), ...(only && { only }) });
if (values.json) {
  for (const row of rows) process.stdout.write(`${JSON.stringify(row)}\n`);
} else {
  const cells = rows.map(({ what, unit, isthmus, peers, ratios, runs, reached }) => [
    `${what} (${unit})`,
    String(isthmus),
    ...Object.entries(peers).map(([peer, value]) => `${peer} ${value} (${ratios[peer]}×)`),
    `${runs} runs`,
    ...(reached === undefined ? [] : [reached ? 'reached' : 'missed']),
  ]);
  for (const row of cells)
    process.stdout.write(
      `${row
        .map((cell) => cell.padEnd(30))
        .join(' ')
        .trimEnd()}\n`,
    );
}
