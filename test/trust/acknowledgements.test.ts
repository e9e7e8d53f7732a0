import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type ClusterName, parseClusterName, parseReplicaName, type ReplicaName } from '../../src/model/names.ts';
import type { AckRecord } from '../../src/model/record.ts';
import { Watchable } from '../../src/runtime/watchable.ts';
import { AckBook, decodeAcks, encodeAcks } from '../../src/trust/authority/acknowledgements.ts';
import { startAckExchange } from '../../src/trust/io/ack-exchange.ts';
import { type ClusterCa, openClusterCa } from '../../src/trust/io/cluster-ca.ts';
import { joinCluster } from '../../src/trust/io/join.ts';
import { Endings } from './support/endings.ts';
import { eventually, ShiftedClock, silent } from './support/environment.ts';
import { startTestAuthority } from './support/site.ts';

/** What replicas proved, on its way to the authority, its journal and the other agents of the cluster. */

const east = parseClusterName('east');
const one = parseReplicaName('one');
const two = parseReplicaName('two');

const ack = (replica: ReplicaName, rosterSequence: number, changes: Partial<AckRecord> = {}): AckRecord => ({
  kind: 'ack',
  role: 'agent',
  replica,
  rosterSequence,
  bundleSequence: rosterSequence,
  chain: [
    { keyId: 'aa', notAfter: 2000 },
    { keyId: 'bb', notAfter: 9000 },
  ],
  at: 1000,
  ...changes,
});

test('AckBook: the journal hears of who is new, of another issuer, and of a roster that took something away', () => {
  const book = new AckBook(3);
  const report = (record: AckRecord): boolean => {
    const due = book.report({ cluster: east, by: one, acks: [record], now: 0 });
    book.told(east, due);
    return due.length === 1;
  };
  assert.equal(report(ack(one, 3)), true, 'new');
  assert.equal(report(ack(one, 4)), false, 'one roster after the other');
  const other = ack(one, 4, {
    chain: [
      { keyId: 'aa', notAfter: 1 },
      { keyId: 'cc', notAfter: 2 },
    ],
  });
  assert.equal(report(other), true, 'another issuer');
  book.note(6);
  assert.equal(report({ ...other, rosterSequence: 5 }), false, 'not there yet');
  assert.equal(report({ ...other, rosterSequence: 7 }), true, 'it knows what was taken away');
  assert.equal(report({ ...other, rosterSequence: 8 }), false);
});

test('AckBook: what the journal had no room for is due again; what nobody repeats is forgotten', () => {
  const book = new AckBook(0);
  assert.equal(book.report({ cluster: east, by: one, acks: [ack(one, 1)], now: 0 }).length, 1);
  assert.equal(book.report({ cluster: east, by: one, acks: [ack(one, 1)], now: 1 }).length, 1, 'nobody told it');
  assert.equal(book.siblings(east, two, 2).length, 1);
  assert.deepEqual(book.siblings(east, one, 2), [], 'nobody is a sibling of oneself');
  assert.deepEqual(book.siblings(parseClusterName('west'), two, 2), [], 'other clusters hear nothing of it');
  assert.equal(book.siblings(east, two, 601_000).length, 0);
});

test('decodeAcks: refuses what is no acknowledgement, misplaced or too much, by name', () => {
  const [wire] = encodeAcks([ack(one, 1)]);
  assert.ok(wire);
  assert.deepEqual(decodeAcks([wire]), [ack(one, 1)]);
  assert.throws(() => decodeAcks([{ ...wire, key: 'ack/agent/two' }]), { code: 'invalid', message: /ack\/agent\/two/ });
  assert.throws(() => decodeAcks([{ ...wire, record: Buffer.from('{}') }]), { code: 'invalid' });
  assert.throws(() => decodeAcks(Array.from({ length: 513 }, () => wire)), { code: 'invalid', message: /513/ });
});

async function twoAgents(t: TestContext) {
  const ends = new Endings(t);
  const clock = new ShiftedClock();
  const at = await startTestAuthority(ends, clock);
  const agentOf = async (cluster: ClusterName, replica: ReplicaName): Promise<ClusterCa> => {
    const stateDir = `${at.dir}/${cluster}-${replica}`;
    const { token } = await at.authority.issueToken({ cluster });
    await joinCluster({ token, stateDir, replica, clock, log: silent });
    const ca = await openClusterCa({ stateDir, clock, log: silent });
    ends.add(() => ca.close());
    await eventually('connected', () => ca.status().authority.connected, 10_000);
    return ca;
  };
  return { ends, clock, authority: at.authority, first: await agentOf(east, one), second: await agentOf(east, two) };
}

test('acknowledgements reach the authority, its journal, and the cluster’s other agents', async (t) => {
  const { ends, clock, authority, first, second } = await twoAgents(t);
  const exchangeOf = (ca: ClusterCa, replica: ReplicaName) => {
    const own = new Watchable<readonly AckRecord[]>([ack(replica, 1)]);
    const acknowledge = (acks: readonly AckRecord[]) => ca.acknowledge(acks);
    const exchange = startAckExchange({ own, acknowledge, clock, log: silent, everyMs: 1 });
    ends.add(() => exchange.close());
    return { own, exchange };
  };
  const a = exchangeOf(first, one);
  const b = exchangeOf(second, two);
  const heard = () => authority.acknowledgements().get(east) ?? [];
  await eventually('the authority hears of both', () => heard().length === 2, 20_000);
  await eventually('one hears of two', () => a.exchange.siblings.current[0]?.replica === two, 20_000);
  await eventually('two hears of one', () => b.exchange.siblings.current[0]?.replica === one, 20_000);

  await authority.setClusterState(east, 'suspended', 'a milestone');
  await authority.setClusterState(east, 'active', 'back');
  const { rosterSequence } = authority.status();
  a.own.set([ack(one, rosterSequence)]);
  const entries = async () => (await authority.journal(0, 1000)).filter(({ what }) => what === 'acknowledge');
  const end = Date.now() + 30_000;
  while ((await entries()).length < 3) {
    assert.ok(Date.now() < end, JSON.stringify(await entries()));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.deepEqual((await entries()).map(({ who, subject }) => `${who.split('/').at(-1)}: ${subject}`).sort(), [
    'one: east/agent/one',
    'one: east/agent/one',
    'two: east/agent/two',
  ]);
  assert.match((await entries()).at(-1)?.detail ?? '', new RegExp(`^roster ${rosterSequence}, .*presents aa ← bb$`));
  assert.equal((await authority.journalState()).problem, undefined);
});

test('an acknowledgement of a roster that does not exist is refused and written down', async (t) => {
  const { authority, first } = await twoAgents(t);
  await assert.rejects(first.acknowledge([ack(one, 1_000_000)]), { code: 'invalid', message: /roster 1000000/ });
  assert.equal(authority.acknowledgements().get(east), undefined);
  const refused = (await authority.journal(0, 1000)).filter(({ what }) => what === 'deny');
  assert.match(refused.at(-1)?.detail ?? '', /the newest is/);
});
