// Completes package-lock.json so that `npm ci` accepts it everywhere, or (without --write) fails if it is incomplete.
//
// Some tools publish one optional package per platform. When the registry at hand lacks a foreign platform's package,
// `npm install` leaves it out of the lockfile without a word and `npm ci` then refuses the whole file. A stub entry
// (version, os, cpu, optional) is enough: npm only resolves it on the platform it names.
import { readFileSync, writeFileSync } from 'node:fs';

const file = new URL('../package-lock.json', import.meta.url);
const lock = JSON.parse(readFileSync(file, 'utf8'));
const platforms = [
  'darwin',
  'linux',
  'win32',
  'android',
  'freebsd',
  'openbsd',
  'netbsd',
  'openharmony',
  'sunos',
  'aix',
];
const processors = [
  'x64',
  'arm64',
  'ia32',
  'arm',
  'armv7',
  'riscv64',
  'ppc64',
  's390x',
  'loong64',
  'mips64el',
  'wasm32',
];

/** The `os`/`cpu` a platform package's name stands for; fields that the name does not tell are left out. */
function platformOf(name) {
  const words = name.split(/[/.-]/);
  const os = platforms.find((p) => words.includes(p));
  const cpu = processors.find((p) => words.includes(p));
  return { ...(os && { os: [os] }), ...(cpu && { cpu: [cpu] }) };
}

const missing = {};
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    if (lock.packages[key] || lock.packages[`${path}/${key}`]) continue;
    missing[key] = { version, ...platformOf(name), optional: true, ...(entry.dev && { dev: true }) };
  }
}

const names = Object.keys(missing).sort();
if (names.length === 0) {
  console.log('package-lock.json: complete');
} else if (process.argv.includes('--write')) {
  const merged = { ...lock.packages, ...missing };
  const sorted = Object.keys(merged).sort((a, b) => (a < b ? -1 : 1));
  lock.packages = Object.fromEntries(sorted.map((k) => [k, merged[k]]));
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`package-lock.json: ${names.length} platform packages added`);
} else {
  console.error(`package-lock.json lacks ${names.length} optional platform packages, so \`npm ci\` would refuse it:`);
  for (const name of names) console.error(`  ${name}`);
  console.error('Run `npm run lock` and commit the result.');
  process.exit(1);
}
