import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { coloured, plain, renderLine, renderScreen, type Screen } from '../../src/roles/demo/screen.ts';

const escape = String.fromCharCode(27);

const screen: Screen = {
  elapsedMs: 65_000,
  hub: 'memory',
  clusters: [
    { name: 'east', problem: undefined, services: [{ service: 'shop/web', ready: 1, total: 1 }] },
    {
      name: 'west',
      problem: 'shop/web has no ready instance',
      services: [{ service: 'shop/web', ready: 0, total: 1 }],
    },
  ],
  traffic: [
    {
      from: 'west',
      service: 'shop/web',
      port: 20_000,
      served: [
        { cluster: 'east', share: 0.75 },
        { cluster: 'south', share: 0.25 },
      ],
      requestsPerSecond: 99.6,
      requests: 1234,
      failed: 0,
      interrupted: 2,
      p50Ms: 1.234,
      p99Ms: 12.4,
    },
  ],
  links: [
    { from: 'west', to: 'east', up: true, rttMs: 0.42 },
    { from: 'east', to: 'west', up: false, rttMs: undefined },
  ],
  events: ['01:01 west failed'],
};

suite('renderScreen', () => {
  test('shows clusters, traffic, links and events', () => {
    const text = renderScreen(screen, plain).join('\n');
    for (const part of [
      /isthmus demo {2}01:05/,
      /✓ east +shop\/web 1\/1/,
      /✗ west +shop\/web 0\/1 +shop\/web has no ready instance/,
      /west +shop\/web +100 +1234 +0 +1\.2ms +12ms +e{18}s{6} +east 75% south 25%/,
      /west → east 0\.4ms/,
      /east → west down/,
      /01:01 west failed/,
    ]) {
      assert.match(text, part);
    }
  });

  test('colours change what is seen, not what is read', () => {
    const text = renderScreen(screen, coloured).join('\n');
    assert.ok(text.includes(`${escape}[`));
    const bare = text
      .split(escape)
      .map((part, i) => (i === 0 ? part : part.replace(/^\[\d+m/, '')))
      .join('');
    assert.equal(bare, renderScreen(screen, plain).join('\n'));
  });

  test('a bar is as wide as any other when nobody serves', () => {
    const silent = { ...screen, traffic: screen.traffic.map((row) => ({ ...row, served: [] })) };
    assert.match(renderScreen(silent, plain).join('\n'), /·{24}/);
  });
});

suite('renderLine', () => {
  test('is one line with what matters', () => {
    const line = renderLine(screen);
    assert.doesNotMatch(line, /\n/);
    assert.match(line, /west→shop\/web 100\/s \[east 75% south 25%\] failed 0/);
    assert.match(line, /links down: east→west/);
  });
});
