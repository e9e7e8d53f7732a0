// Runs every test, and fails on what a green run could hide: missing programs, no tests, leftovers.
//
//   npm test                         everything
//   npm test -- test/gateway         files whose path contains one of the words
import { spawnSync } from 'node:child_process';
import { chmodSync, globSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

const fewestTests = 1000;
/** Files that get a second try, alone; what passes then is called flaky, aloud. */
const mayBeFlaky = 2;
const programs = ['redis-server', 'redis-cli', 'openssl', 'curl', 'wrk', 'nginx', 'haproxy', 'nghttp', 'h2load'];

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}

if (Number(process.versions.node.split('.')[0]) < 24) {
  fail(`These tests run on Node >= 24; this is ${process.version}. Run \`npm ci\`, then \`npm test\`.`);
}
const missing = programs.filter((program) => spawnSync(program, ['--version']).error !== undefined);
if (missing.length > 0) fail(`Tests need ${missing.join(', ')}: run \`npm run setup\` first.`);

const words = process.argv.slice(2);
const all = globSync('test/**/*.test.ts').sort();
const files = words.length === 0 ? all : all.filter((file) => words.some((word) => file.includes(word)));
if (files.length === 0) fail(`No test file matches ${words.join(' ')}`);

// A temp folder and a mark of our own, so that leftovers can be told from other programs' files and processes.
const scratch = mkdtempSync(join(tmpdir(), 'isthmus-test-'));
// Other users may pass through, as through any temp folder: some tests are about what they can reach in it.
chmodSync(scratch, 0o711);
const mark = `ISTHMUS_TEST_RUN=${process.pid}-${Date.now()}`;
process.env['TMPDIR'] = scratch;
// Hundreds of processes load the same modules: one compiles them for all.
process.env['NODE_COMPILE_CACHE'] ??= join(scratch, 'node-compile-cache');
process.env['ISTHMUS_TEST_RUN'] = mark.slice(mark.indexOf('=') + 1);

/** Processes that this run started and that still live (Linux only: elsewhere the environment is not readable). */
function strayProcesses(): string[] {
  if (process.platform !== 'linux') return [];
  const strays: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mark)) continue;
      strays.push(`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()}`);
    } catch {
      // It ended while we looked.
    }
  }
  return strays;
}

interface Run {
  readonly passed: number;
  /** Failed tests by file. */
  readonly failed: ReadonlyMap<string, number>;
}

async function runAll(chosen: readonly string[], concurrency: number): Promise<Run> {
  let passedTests = 0;
  const failedTests = new Map<string, number>();
  const tests = run({ files: [...chosen], concurrency, timeout: 300_000 });
  tests.on('test:pass', ({ details }) => {
    if (details.type !== 'suite') passedTests += 1;
  });
  tests.on('test:fail', ({ details, file = '' }) => {
    if (details.type !== 'suite') failedTests.set(file, (failedTests.get(file) ?? 0) + 1);
  });
  for await (const line of tests.compose(new spec())) process.stdout.write(line);
  return { passed: passedTests, failed: failedTests };
}

const first = await runAll(files, Math.max(1, Math.min(4, availableParallelism())));
let { passed } = first;
let failed = 0;
for (const count of first.failed.values()) failed += count;
// With one file more than this the machine is not to blame.
if (first.failed.size > 0 && first.failed.size <= mayBeFlaky) {
  const names = [...first.failed.keys()].map((file) => relative(process.cwd(), file));
  console.log(`\nonce more, alone: ${names.join(', ')}`);
  const again = await runAll(names, 1);
  failed = 0;
  for (const count of again.failed.values()) failed += count;
  for (const [file, count] of first.failed) {
    if (again.failed.has(file)) continue;
    passed += count;
    console.error(`FLAKY, a defect of the test or of what it tests: ${relative(process.cwd(), file)}`);
  }
}

const strays = strayProcesses();
const leftovers = readdirSync(scratch).filter((name) => !name.startsWith('node-compile-cache'));
rmSync(scratch, { recursive: true, force: true });
for (const stray of strays) console.error(`left running: ${stray}`);
for (const name of leftovers) console.error(`left in the temp folder: ${name}`);
console.log(`${passed} passed, ${failed} failed`);
if (failed > 0 || strays.length > 0 || leftovers.length > 0) process.exit(1);
if (words.length === 0 && passed < fewestTests)
  fail(`Only ${passed} tests ran, fewer than ${fewestTests}: were some lost?`);
