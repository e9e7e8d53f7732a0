// Writes the verification vectors anew and lets the verifiers of Go and of the JDK answer them, where those are
// installed. Fails when one answers otherwise than the index says, the known disagreements included.
//
//   npm run vectors:peers
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Entry {
  readonly name: string;
  readonly expected: 'accept' | 'reject';
  readonly disagree: Readonly<Record<string, string>>;
}

const root = new URL('..', import.meta.url).pathname;
const peers = [
  { name: 'go', version: ['go', 'version'], command: ['go', 'run', join(root, 'test/interop/vectors.go')] },
  { name: 'jdk', version: ['java', '--version'], command: ['java', join(root, 'test/interop/Vectors.java')] },
] as const;

function output([program = '', ...args]: readonly string[]): string | undefined {
  const { error, status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (error !== undefined) return undefined;
  if (status === 0) return stdout;
  console.error(`${program} ${args.join(' ')} failed:\n${stderr}`);
  process.exit(1);
}

const scratch = mkdtempSync(join(tmpdir(), 'isthmus-vectors-'));
const dir = join(scratch, 'vectors');
let wrong = 0;
let asked = 0;
try {
  output([process.execPath, join(root, 'bin/isthmus.js'), 'trust', 'vectors', dir]);
  const index = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')) as { readonly vectors: readonly Entry[] };
  for (const { name: peer, version, command } of peers) {
    const found = output(version)?.split('\n', 1)[0];
    if (found === undefined) {
      console.log(`${peer}: not installed, not asked`);
      continue;
    }
    asked += 1;
    const answers = new Map(
      (output([...command, dir]) ?? '').split('\n').map((line): [string, readonly string[]] => {
        const [name = '', ...answer] = line.split('\t');
        return [name, answer];
      }),
    );
    let known = 0;
    for (const { name, expected, disagree } of index.vectors) {
      const [answer = 'no answer', why = ''] = answers.get(name) ?? [];
      const reason = disagree[peer];
      if ((answer !== expected) !== (reason !== undefined)) {
        wrong += 1;
        console.error(
          `${peer}: ${name}: ${answer}, expected ${expected}${reason ? ` unlike it (${reason})` : ''}. ${why}`,
        );
      } else if (reason !== undefined) {
        known += 1;
        console.log(`${peer}: ${name}: ${answer}s, known: ${reason}`);
      }
    }
    console.log(`${found}: ${index.vectors.length} vectors, ${known} known disagreements`);
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
if (asked === 0) console.log('Neither go nor java is installed: nothing was asked.');
if (wrong > 0) process.exit(1);
