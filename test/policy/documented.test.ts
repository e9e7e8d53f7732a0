import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { baseFields, defaultFailover, defaultPanicThreshold } from '../../src/policy/defaults.ts';
import { formatDuration } from '../../src/runtime/duration.ts';

/** The page that says what fields there are, and what holds when nobody says anything. */
const page = readFileSync(new URL('../../docs/concepts/policy.md', import.meta.url), 'utf8');
const rows = page.split('\n').filter((line) => /^\| `[a-z]+[.`]/i.test(line));

/** `failover.hold` → the row that has it, by its whole name or, after others of its section, by its end. */
function rowOf(field: string): string | undefined {
  const at = field.lastIndexOf('.');
  const [section, name] = [field.slice(0, at), field.slice(at + 1)];
  return rows.find((row) => {
    const [, names = ''] = row.split('|');
    return names.includes(`\`${field}\``) || (names.includes(`\`${section}.`) && names.includes(`\`.${name}\``));
  });
}

test('every field of a traffic policy is in the documentation', () => {
  const missing = Object.keys(baseFields({ failover: defaultFailover })).filter((field) => !rowOf(field));
  assert.deepEqual(missing, []);
});

test('the defaults are as documented', () => {
  const percent = (part: number): string => `${part * 100}%`;
  const fields = baseFields({ failover: defaultFailover });
  const documented: Readonly<Record<string, string>> = {
    'locality.preferLocal': String(fields['locality.preferLocal']),
    'locality.fallback': fields['locality.fallback'],
    'failover.healthyThreshold': percent(fields['failover.healthyThreshold']),
    'failover.panicThreshold': percent(defaultPanicThreshold),
    'failover.hold': formatDuration(fields['failover.hold']),
    'failover.returnOver': formatDuration(fields['failover.returnOver']),
    'loadBalancing.algorithm': fields['loadBalancing.algorithm'],
    'loadBalancing.slowStart': formatDuration(fields['loadBalancing.slowStart']),
    'loadBalancing.hash': fields['loadBalancing.hash'].by,
    'connection.maxConnections': String(fields['connection.maxConnections']),
    'connection.maxPending': String(fields['connection.maxPending']),
    'outlier.consecutiveFailures': String(fields['outlier.consecutiveFailures']),
    'outlier.successRate': fields['outlier.successRate'],
    'outlier.baseEjection': formatDuration(fields['outlier.baseEjection']),
    'outlier.maxEjected': percent(fields['outlier.maxEjected']),
    'http.retries.attempts': String(fields['http.retries.attempts']),
    'http.retries.budget': percent(fields['http.retries.budget']),
    'access.requirePolicy': String(fields['access.requirePolicy']),
  };
  for (const [field, value] of Object.entries(documented)) {
    const [, , defaults = ''] = rowOf(field)?.split('|') ?? [];
    assert.ok(defaults.includes(`\`${value}\``), `${field} is ${value}, documented is${defaults}`);
  }
});
