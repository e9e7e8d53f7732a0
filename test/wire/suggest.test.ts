import assert from 'node:assert/strict';
import { test } from 'node:test';
import { suggest } from '../../src/wire/suggest.ts';

const known = ['stateDir', 'cluster', 'services', 'passwordFile', 'to', 'from'];

const cases: readonly (readonly [string, string | undefined])[] = [
  ['servces', 'services'],
  ['stateDri', 'stateDir'],
  ['state_dir', 'stateDir'],
  ['StateDir', 'stateDir'],
  ['pasword', 'passwordFile'],
  ['password', 'passwordFile'],
  ['form', 'from'],
  ['xyzzy', undefined],
  ['', undefined],
  ['a'.repeat(100_000), undefined],
];

for (const [word, meant] of cases) {
  test(`suggest ${word.slice(0, 12)} → ${meant}`, () => assert.equal(suggest(word, known), meant));
}
