import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSpiffeId } from '../../src/model/identity.ts';
import { parseClusterName } from '../../src/model/names.ts';
import { ClusterClock } from '../../src/trust/io/cluster-clock.ts';
import { Endings } from './support/endings.ts';
import { eventually, ShiftedClock, silent } from './support/environment.ts';
import { startTestAgent, startTestAuthority } from './support/site.ts';

const hourMs = 3_600_000;

test('ClusterClock: a jump refuses, is told once, and ends with the jump or with the authority’s word', async () => {
  const clock = new ShiftedClock();
  const told: string[] = [];
  const watch = new ClusterClock({ clock, tell: async (problem) => void told.push(problem), log: silent });
  clock.pass(1000 * hourMs);
  await watch.require();
  clock.offsetMs += hourMs;
  await assert.rejects(watch.require(), { code: 'unavailable', message: /it jumped ahead/ });
  await assert.rejects(watch.require(), { code: 'unavailable' });
  assert.equal(told.length, 1);
  clock.offsetMs -= hourMs;
  await watch.require();
  clock.offsetMs -= hourMs;
  await assert.rejects(watch.require(), { code: 'unavailable', message: /it jumped back/ });
  assert.equal(told.length, 2);
  watch.heard(clock.now() + hourMs);
  await assert.rejects(watch.require(), { code: 'unavailable' }, 'the authority does not agree');
  watch.heard(clock.now() + 1000);
  await watch.require();
  clock.pass(hourMs);
  await watch.require();
});

test('an agent whose clock jumped signs nothing, writes it down, and goes on when the authority agrees', async (t) => {
  const ends = new Endings(t);
  const clock = new ShiftedClock();
  const { dir, authority } = await startTestAuthority(ends, clock);
  const { ca } = await startTestAgent(ends, { dir, authority }, { cluster: parseClusterName('east'), clock });
  const id = parseSpiffeId('spiffe://east.mesh.example/ns/a/sa/b');
  const ask = () => ca.issuance.issueWithKey({ id, kind: 'join', by: 'test' });
  await ask();
  await eventually('connected', () => ca.status().authority.connected, 10_000);
  const { records } = ca.issued().journal;
  clock.offsetMs += 2 * hourMs;
  await assert.rejects(ask(), { code: 'unavailable', message: /it jumped ahead/ });
  await assert.rejects(ask(), { code: 'unavailable' });
  assert.equal(ca.issued().journal.records, records + 1, 'one record, and no certificate');
  assert.match(ca.status().clockProblem ?? '', /jumped ahead/);
  // Both have the same clock here: the authority's operator says that it is right, and so the agent's is.
  await authority.acceptClock('test');
  await ca.acknowledge([]);
  assert.equal(ca.status().clockProblem, undefined);
  await ask();
});
