import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Column, renderTable } from '../../src/cli/table.ts';

interface Row {
  readonly name: string;
  readonly note?: string;
  readonly ok?: boolean;
}
const columns: readonly Column<Row>[] = [
  { title: 'NAME', cell: ({ name }) => name },
  { title: 'OK', cell: ({ ok }) => (ok === undefined ? '' : String(ok)), optional: true, tone: () => 'good' },
  { title: 'ID', cell: () => '7', wide: true },
  { title: 'NOTE', cell: ({ note }) => note ?? '' },
];
const plain = { wide: false, headers: true, colour: false };

suite('renderTable', () => {
  test('aligns columns, pads none at the end, writes a dash for nothing', () => {
    const rows = [{ name: 'a', ok: true, note: 'first of all' }, { name: 'longer-name' }];
    const expected = ['NAME         OK    NOTE', 'a            true  first of all', 'longer-name  -     -', ''];
    assert.equal(renderTable(columns, rows, plain), expected.join('\n'));
  });

  test('leaves out an optional column without a value', () => {
    assert.equal(renderTable(columns, [{ name: 'a' }], plain), 'NAME  NOTE\na     -\n');
  });

  test('adds wide columns, drops headers', () => {
    assert.equal(renderTable(columns, [{ name: 'a' }], { ...plain, wide: true, headers: false }), 'a  7  -\n');
  });

  test('colours do not change the widths', () => {
    const rows = [
      { name: 'a', ok: true },
      { name: 'b', ok: false },
    ];
    const coloured = renderTable(columns, rows, { ...plain, colour: true });
    assert(coloured.includes('\u001b[32mtrue\u001b[0m   -'));
    const bare = coloured.replaceAll('\u001b[32m', '').replaceAll('\u001b[0m', '');
    assert.equal(bare, renderTable(columns, rows, plain));
  });

  test('a value cannot move the cursor, start a line or turn the text around', () => {
    const text = renderTable(columns, [{ name: '\u001b[2Jx\r\ny\u202ez\u009b' }], plain);
    assert.equal(text.split('\n').length, 3);
    assert.doesNotMatch(text, /(?!\n)[\p{Cc}\p{Bidi_Control}]/u);
  });
});
