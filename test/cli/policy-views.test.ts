import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { diffLines } from '../../src/cli/diff.ts';
import { render, type View } from '../../src/cli/view.ts';
import { drainsView, failoversView, simulationView } from '../../src/cli/views/operate.ts';
import { changesView, policiesView, undoOf } from '../../src/cli/views/policy.ts';
import type { PolicyDocument, PolicyRow } from '../../src/model/policy-report.ts';

function text(view: View, format: 'table' | 'wide' | 'name' = 'table'): string {
  return render(view, { format, headers: true, colour: false });
}

const document: PolicyDocument = {
  apiVersion: 'isthmus.dev/v1alpha1',
  kind: 'TrafficPolicy',
  metadata: { name: 'web', namespace: 'shop' },
  spec: { failover: { hold: '1s' } },
};

suite('diffLines', () => {
  test('what is kept and gone is the text before, what is kept and new is the text after', () => {
    const lines = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 12 });
    fc.assert(
      fc.property(lines, lines, (before, after) => {
        const diff = diffLines(before, after);
        const without = (mark: string): string[] =>
          diff.filter((line) => !line.startsWith(mark)).map((line) => line.slice(2));
        assert.deepEqual(without('+'), before);
        assert.deepEqual(without('-'), after);
      }),
    );
  });

  test('equal texts differ in nothing', () => {
    assert.deepEqual(diffLines(['a', 'b'], ['a', 'b']), ['  a', '  b']);
  });
});

suite('views of policies and operations', () => {
  const row: PolicyRow = {
    policy: 'TrafficPolicy/shop/web',
    publisher: 'east',
    target: 'shop/web',
    state: 'Pending',
    revision: 7,
    ageMs: 90_000,
    applied: [
      { cluster: 'east', revision: 7, current: true },
      { cluster: 'south', current: false },
    ],
    message: 'no cluster exports shop/web yet',
  };

  test('a policy says where it is not applied', () => {
    assert.match(
      text(policiesView([row])),
      /TrafficPolicy\/shop\/web +east +shop\/web +Pending +1\/2 not south +90s +no cluster exports/,
    );
    assert.equal(text(policiesView([row]), 'name'), 'policy/TrafficPolicy/shop/web\n');
    assert.match(text(policiesView([])), /Nobody publishes a policy/);
  });

  test('a message from another cluster cannot move the cursor', () => {
    assert.ok(!text(policiesView([{ ...row, message: 'a\u001b[2Jb' }])).includes('\u001b'));
  });

  test('a change shows both sides and how to take it back', () => {
    const after = { ...document, spec: { failover: { hold: '2s' } } };
    const changes = [
      { policy: 'TrafficPolicy/shop/web', action: 'changed' as const, before: document, after, notes: [] },
    ];
    const shown = text(changesView({ preview: true, changes }, { diff: true }));
    assert.match(shown, /^TrafficPolicy\/shop\/web changed \(preview: nothing was written\)$/m);
    assert.match(shown, /^- +hold: 1s$/m);
    assert.match(shown, /^\+ +hold: 2s$/m);
    assert.match(undoOf(changes)[0] ?? '', /^isthmus policy apply -f - <<'END'\napiVersion[^]*hold: 1s\nEND$/);
    assert.deepEqual(undoOf([{ policy: 'a', action: 'unchanged', before: document, notes: [] }]), []);
    assert.deepEqual(undoOf([{ policy: 'a', action: 'created', notes: [] }]), ['isthmus policy delete a']);
  });

  test('a simulation ends with its verdict', () => {
    const report = {
      from: 'west',
      supposed: ['lose east'],
      services: [
        {
          service: 'shop/web',
          before: 'Active' as const,
          after: 'Down' as const,
          targets: [{ cluster: 'east', before: 1, after: 0, why: 'unreachable', carries: 12, rated: 10 }],
          avoided: ['south: placement requires compliance=pci'],
        },
      ],
      nowhere: ['shop/web'],
      overloaded: [],
    };
    const shown = text(simulationView(report));
    assert.match(shown, /^As seen from west, with lose east:/);
    assert.match(shown, /shop\/web +east +100% +0% +12\/10 \(120%\) +Down +unreachable/);
    assert.match(shown, /shop\/web stays out of south: placement requires compliance=pci/);
    assert.match(shown, /1 of 1 services would have nowhere to go\.\n$/);
  });

  test('nothing to show is said', () => {
    assert.equal(text(drainsView([])), 'Nothing is drained.\n');
    assert.match(text(failoversView([])), /No traffic has moved/);
  });
});
