// Plants one violation of each rule of the house in a scratch tree and fails unless the linter sees every one: a check
// that cannot fail is worse than none.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

interface Planted {
  readonly what: string;
  readonly file: string;
  readonly code: string;
  readonly rule: string;
}

const planted: readonly Planted[] = [
  {
    what: 'area imports area',
    file: 'src/gateway/a.ts',
    code: `import { x } from '../trust/x.ts';\nexport const a = x;\n`,
    rule: 'no-restricted-imports',
  },
  {
    what: 'type import across areas',
    file: 'src/federation/b.ts',
    code: `import type { X } from '../gateway/x.ts';\nexport type B = X;\n`,
    rule: 'no-restricted-imports',
  },
  {
    what: 're-export across areas',
    file: 'src/trust/c.ts',
    code: `export { x } from '../policy/x.ts';\n`,
    rule: 'no-restricted-imports',
  },
  {
    what: 'io of an area imports another area',
    file: 'src/gateway/io/d.ts',
    code: `import { x } from '../../federation/x.ts';\nexport const d = x;\n`,
    rule: 'no-restricted-imports',
  },
  {
    what: 'pure imports io',
    file: 'src/policy/e.ts',
    code: `import { x } from './io/x.ts';\nexport const e = x;\n`,
    rule: 'no-restricted-imports',
  },
  {
    what: 'pure imports node:net',
    file: 'src/gateway/f.ts',
    code: `import { connect } from 'node:net';\nexport const f = connect;\n`,
    rule: 'no-restricted-imports',
  },
  {
    what: 'pure signs',
    file: 'src/trust/g.ts',
    code: `import { sign } from 'node:crypto';\nexport const g = sign;\n`,
    rule: 'no-restricted-imports',
  },
  {
    what: 'pure imports a client',
    file: 'src/federation/h.ts',
    code: `import { Redis } from 'ioredis';\nexport const h = Redis;\n`,
    rule: 'no-restricted-imports',
  },
  {
    what: 'model imports wire',
    file: 'src/model/i.ts',
    code: `import { x } from '../wire/x.ts';\nexport const i = x;\n`,
    rule: 'no-restricted-imports',
  },
  {
    what: 'model imports a package',
    file: 'src/model/j.ts',
    code: `import { z } from 'zod';\nexport const j = z;\n`,
    rule: 'no-restricted-imports',
  },
  {
    what: 'wire imports runtime',
    file: 'src/wire/k.ts',
    code: `import { x } from '../runtime/x.ts';\nexport const k = x;\n`,
    rule: 'no-restricted-imports',
  },
  {
    what: 'area imports roles',
    file: 'src/admin/l.ts',
    code: `import { x } from '../roles/x.ts';\nexport const l = x;\n`,
    rule: 'no-restricted-imports',
  },
  {
    what: 'pure reads the clock',
    file: 'src/policy/m.ts',
    code: `export const m: number = Date.now();\n`,
    rule: 'no-restricted-properties',
  },
  {
    what: 'pure draws randomness',
    file: 'src/gateway/n.ts',
    code: `export const n: number = Math.random();\n`,
    rule: 'no-restricted-properties',
  },
  {
    what: 'pure sets a timer',
    file: 'src/federation/o.ts',
    code: `setTimeout(() => undefined, 1);\n`,
    rule: 'no-restricted-globals',
  },
  {
    what: 'pure touches process',
    file: 'src/trust/p.ts',
    code: `export const p: number = process.pid;\n`,
    rule: 'no-restricted-globals',
  },
  {
    what: 'built-in without node:',
    file: 'src/gateway/q.ts',
    code: `import { connect } from 'net';\nexport const q = connect;\n`,
    rule: 'prefer-node-protocol',
  },
  {
    what: 'floating promise',
    file: 'src/gateway/io/r.ts',
    code: `export function r(): void {\n  Promise.resolve(1);\n}\n`,
    rule: 'no-floating-promises',
  },
  {
    what: 'any',
    file: 'src/gateway/io/s.ts',
    code: `export function s(x: any): void {\n  void x;\n}\n`,
    rule: 'no-explicit-any',
  },
  { what: 'console', file: 'src/gateway/io/t.ts', code: `console.log('t');\n`, rule: 'no-console' },
  {
    what: 'type-only cycle',
    file: 'src/policy/u.ts',
    code: `import type { V } from './v.ts';\nexport interface U {\n  v: V;\n}\n`,
    rule: 'no-cycle',
  },
  {
    what: 'other half of the cycle',
    file: 'src/policy/v.ts',
    code: `import type { U } from './u.ts';\nexport interface V {\n  u: U;\n}\n`,
    rule: 'no-cycle',
  },
];

const scratch = mkdtempSync(join(tmpdir(), 'isthmus-planted-'));
let missed = 0;
try {
  for (const name of ['.oxlintrc.json', 'tsconfig.json', 'package.json']) cpSync(join(root, name), join(scratch, name));
  symlinkSync(join(root, 'node_modules'), join(scratch, 'node_modules'));
  for (const { file, code } of planted) {
    mkdirSync(dirname(join(scratch, file)), { recursive: true });
    writeFileSync(join(scratch, file), code);
  }
  const run = spawnSync(join(root, 'node_modules/.bin/oxlint'), ['-f', 'unix', 'src'], {
    cwd: scratch,
    encoding: 'utf8',
  });
  const lines = `${run.stdout}${run.stderr}`.split('\n');
  for (const { what, file, rule } of planted) {
    if (lines.some((line) => line.startsWith(`${file}:`) && line.includes(rule))) continue;
    missed += 1;
    console.error(`not caught: ${what} (${file}, ${rule})`);
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`planted violations: ${planted.length - missed} of ${planted.length} caught`);
process.exitCode = missed === 0 ? 0 : 1;
