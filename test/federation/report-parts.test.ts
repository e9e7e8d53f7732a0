import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ReportParts } from '../../src/federation/report-parts.ts';
import { parseReplicaName, parseServiceKey } from '../../src/model/names.ts';
import type { GatewayReport } from '../../src/wire/gateway-report.ts';

function report(problems: Readonly<Record<string, string>>, omitted?: number): GatewayReport {
  return {
    instance: parseReplicaName('gw-0'),
    version: '0',
    ready: true,
    draining: false,
    tableDigest: '',
    links: [],
    services: Object.entries(problems).map(([name, problem]) => ({
      service: parseServiceKey(name),
      targets: [],
      endpoints: [],
      problem,
    })),
    ...(omitted !== undefined && { omitted }),
  };
}

function known({ services }: GatewayReport): Record<string, string | undefined> {
  return Object.fromEntries(services.map(({ service, problem }) => [service, problem]));
}

suite('ReportParts', () => {
  test('a whole report is what it is', () => {
    const whole = report({ 'a/a': '1' });
    assert.equal(new ReportParts().take(whole, 0), whole);
  });

  test('what a cut report leaves out is as it was told of last', () => {
    const parts = new ReportParts();
    parts.take(report({ 'a/a': '1', 'a/b': '1' }, 1), 0);
    assert.deepEqual(known(parts.take(report({ 'a/b': '2', 'a/c': '2' }, 1), 1000)), {
      'a/a': '1',
      'a/b': '2',
      'a/c': '2',
    });
  });

  test('what is not told of for a minute is gone, and so is everything once a report is whole again', () => {
    const parts = new ReportParts();
    parts.take(report({ 'a/a': '1' }, 1), 0);
    parts.take(report({ 'a/b': '2' }, 1), 50_000);
    assert.deepEqual(known(parts.take(report({}, 2), 60_001)), { 'a/b': '2' });
    assert.deepEqual(known(parts.take(report({ 'a/z': '3' }), 60_002)), { 'a/z': '3' });
    assert.deepEqual(known(parts.take(report({ 'a/y': '4' }, 1), 60_003)), { 'a/y': '4' });
  });
});
