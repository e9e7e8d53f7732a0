import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { readDocument } from '../../src/config/document.ts';
import { parseGatewayConfig } from '../../src/config/gateway.ts';
import { limitsOf } from '../../src/gateway/limits.ts';
import { isDuration, limitKey, limitNames, limitSpecs } from '../../src/model/gateway-limits.ts';
import { limitsPage } from '../../scripts/limits-page.ts';

function parsed(lines: readonly string[]): ReturnType<typeof parseGatewayConfig> {
  const text = ['stateDir: state', 'listen: { hbone: "127.0.0.1:1" }', ...lines].join('\n');
  return parseGatewayConfig(readDocument('gateway.yaml', text), (path) => `/${path}`);
}

/** How a value of a limit is written. */
function written(name: (typeof limitNames)[number], value: number): string {
  return isDuration(name) ? `${value}ms` : String(value);
}

describe('limits of a gateway', () => {
  it('are documented as they are', () => {
    assert.equal(readFileSync(new URL('../../docs/reference/limits.md', import.meta.url), 'utf8'), limitsPage());
  });

  it('have their defaults inside their ranges', () => {
    for (const name of limitNames) {
      const { default: value, min, max, about, reached } = limitSpecs[name];
      assert.ok(Number.isInteger(value) && value >= min && value <= max, name);
      assert.ok(min >= 1 && about.length > 10 && reached.length > 5, name);
      assert.equal(limitsOf()[name], value);
    }
  });

  it('can all be set in the file, from their least to their most and not beyond', () => {
    for (const name of limitNames) {
      const { min, max } = limitSpecs[name];
      for (const value of [min, max]) {
        const result = parsed([`limits: { ${limitKey(name)}: ${written(name, value)} }`]);
        assert.ok(result.ok, name);
        assert.equal(result.value.limits[name], value);
      }
      for (const value of [min - 1, max + 1]) {
        const result = parsed([`limits: { ${limitKey(name)}: ${written(name, value)} }`]);
        assert.equal(result.ok, false, `${name}: ${value}`);
      }
    }
  });

  it('says what an unknown one may have been', () => {
    const result = parsed(['limits: { conections: 5 }']);
    assert.ok(!result.ok);
    assert.match(result.problems[0]?.message ?? '', /did you mean 'connections'/);
  });

  it('refuses what is no number when it is given by a program', () => {
    for (const value of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => limitsOf({ attempts: value }), /limit 'attempts' must be an integer/);
    }
  });
});

describe('the gateway file', () => {
  it('has identities, grace, sampling and a metrics port', () => {
    const result = parsed([
      'identities:',
      '  - { address: 10.1.0.0/16, identity: shop/cart }',
      '  - { address: "fd00::7", identity: spiffe://west.mesh.test/ns/shop/sa/pay }',
      'accessLog: { sample: 10% }',
      'drainGrace: 5s',
    ]);
    assert.ok(result.ok);
    const { identities, accessLog, drainGraceMs, listen } = result.value;
    assert.equal(identities.length, 2);
    assert.deepEqual([accessLog.sample, drainGraceMs], [0.1, 5000]);
    assert.deepEqual(listen.metrics, { host: '127.0.0.1', port: 15_090 });
  });

  it('refuses identities that could never be used, saying what would be right', () => {
    const bad = [
      ['{ address: 10.1.0.1/16, identity: shop/cart }', /identities\[0\]|without bits after the prefix/],
      ['{ address: 10.1.0.0/16, identity: cart }', /<namespace>\/<service account>/],
      ['{ address: 10.1.0.0/16, identity: spiffe://west.mesh.test/isthmus/gateway/gw0 }', /outside \/isthmus/],
    ] as const;
    for (const [entry, expected] of bad) {
      const result = parsed(['identities:', `  - ${entry}`]);
      assert.ok(!result.ok, entry);
      assert.match(result.problems[0]?.message ?? '', expected);
    }
    const twice = parsed([
      'identities: [{ address: 10.0.0.1, identity: a/b }, { address: 10.0.0.1/32, identity: a/c }]',
    ]);
    assert.ok(!twice.ok);
    assert.match(twice.problems[0]?.message ?? '', /must be there once: identities\[0\]/);
  });
});
