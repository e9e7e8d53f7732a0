import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Command } from 'commander';
import { buildProgram } from '../../src/cli/io/program.ts';
import type { World } from '../../src/cli/world.ts';

/** Every verb that does something by itself, by its whole name. */
function verbsOf(command: Command, path: readonly string[] = []): readonly string[] {
  const below = command.commands.filter((each) => each.name() !== 'help');
  const acts = '_actionHandler' in command && command._actionHandler !== null;
  return [
    ...(path.length > 0 && (acts || below.length === 0) ? [path.join(' ')] : []),
    ...below.flatMap((each) => verbsOf(each, [...path, each.name()])),
  ];
}

test('every verb belongs to a role, or needs none, in the documentation', () => {
  const silent = { write: () => true };
  const world = { version: '1', stdout: silent, stderr: silent, env: {} } as unknown as World;
  const page = readFileSync(new URL('../../docs/operations/operators.md', import.meta.url), 'utf8');
  const named = new Set(Array.from(page.matchAll(/`([a-z-]+(?: [a-z-]+)*)`/g), ([, name = '']) => name));
  const verbs = verbsOf(buildProgram(world, () => undefined));
  assert.ok(verbs.length > 50, verbs.join());
  assert.deepEqual(
    verbs.filter((verb) => !named.has(verb)),
    [],
  );
});
