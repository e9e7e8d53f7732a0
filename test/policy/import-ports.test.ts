import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type AllocationInput, allocateImportPorts } from '../../src/policy/import-ports.ts';

const empty: AllocationInput = {
  wanted: [],
  held: new Map(),
  fixed: new Map(),
  range: { from: 20_000, to: 20_002 },
  usable: () => true,
};

suite('allocateImportPorts', () => {
  test('gives the lowest ports of the range', () => {
    const { ports, exhausted } = allocateImportPorts({ ...empty, wanted: ['a/a:80', 'b/b:80'] });
    assert.deepEqual(
      [...ports],
      [
        ['a/a:80', 20_000],
        ['b/b:80', 20_001],
      ],
    );
    assert.deepEqual(exhausted, []);
  });

  test('a key keeps its port, wanted or not', () => {
    const held = new Map([['a/a:80', 20_001]]);
    assert.deepEqual([...allocateImportPorts({ ...empty, held }).ports], [['a/a:80', 20_001]]);
    const { ports } = allocateImportPorts({ ...empty, held, wanted: ['a/a:80', 'b/b:80', 'c/c:80'] });
    assert.deepEqual([ports.get('b/b:80'), ports.get('c/c:80')], [20_000, 20_002]);
  });

  test('skips what this machine does not let us use', () => {
    const { ports } = allocateImportPorts({ ...empty, wanted: ['a/a:80'], usable: (port) => port !== 20_000 });
    assert.equal(ports.get('a/a:80'), 20_001);
  });

  test('says which keys found no port', () => {
    const { exhausted } = allocateImportPorts({ ...empty, wanted: ['a/a:1', 'a/a:2', 'a/a:3', 'a/a:4'] });
    assert.deepEqual(exhausted, ['a/a:4']);
  });

  test('a fixed port wins over whoever held it', () => {
    const { ports } = allocateImportPorts({
      ...empty,
      wanted: ['a/a:80', 'b/b:80'],
      held: new Map([['a/a:80', 20_000]]),
      fixed: new Map([['b/b:80', 20_000]]),
    });
    assert.deepEqual([ports.get('b/b:80'), ports.get('a/a:80')], [20_000, 20_001]);
  });
});
