import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Commit, Hub } from '../../src/model/ports/hub.ts';

/** Two connections to one storage, empty at first. For the embedded hub both are the same object. */
export interface HubUnderTest {
  readonly hub: Hub;
  readonly other: Hub;
  /** Empties the storage. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

const bytes = (text: string): Uint8Array => Buffer.from(text);
/** Every byte value, and neither valid UTF-8 nor free of line ends and NUL. */
const binary = Buffer.from(Array.from({ length: 256 }, (_, index) => index));

function commitOf(change: Partial<Commit>): Commit {
  return {
    expectedHead: undefined,
    head: bytes('head-1'),
    records: new Map(),
    snapshot: false,
    delta: undefined,
    hint: 'east 1 1',
    ...change,
  };
}

/** What every implementation of the port must do. */
export function hubContract(name: string, open: () => Promise<HubUnderTest>): void {
  let under: HubUnderTest;
  const it = (title: string, body: (hub: Hub, other: Hub) => Promise<void>): void => {
    test(`${name}: ${title}`, () => body(under.hub, under.other));
  };
  before(async () => {
    under = await open();
  });
  beforeEach(() => under.clear());
  after(() => under.close());

  it('an empty partition reads as nothing', async (hub) => {
    assert.deepEqual(await hub.readHeads(['east', 'west']), [undefined, undefined]);
    assert.deepEqual(await hub.readSnapshot('east'), { head: undefined, records: new Map(), lastId: undefined });
    assert.deepEqual(await hub.readDeltas('east', undefined, 10), { entries: [], gap: false });
    assert.deepEqual(await hub.readLeases(['east']), [undefined]);
    assert.equal(await hub.readChain('east', 'c'), undefined);
    assert.deepEqual(await hub.readHeads([]), []);
  });

  it('a commit is read back exactly, whatever its bytes', async (hub, other) => {
    const records = new Map([['export/shop/web', binary]]);
    const result = await hub.commit('east', commitOf({ head: binary, records, delta: binary }));
    assert.deepEqual(result, { ok: true });
    const snapshot = await other.readSnapshot('east');
    assert.deepEqual(Buffer.from(snapshot.head ?? []), binary);
    assert.deepEqual(Buffer.from(snapshot.records.get('export/shop/web') ?? []), binary);
    const { entries } = await other.readDeltas('east', undefined, 10);
    assert.equal(entries.length, 1);
    assert.deepEqual(Buffer.from(entries[0]?.delta ?? []), binary);
    assert.equal(entries[0]?.id, snapshot.lastId);
  });

  it('partitions do not touch each other', async (hub) => {
    await hub.commit('east', commitOf({ records: new Map([['a', bytes('1')]]) }));
    await hub.commit('west', commitOf({ head: bytes('w') }));
    assert.equal((await hub.readSnapshot('west')).records.size, 0);
    const heads = await hub.readHeads(['west', 'none', 'east']);
    assert.deepEqual(
      heads.map((head) => head && Buffer.from(head).toString()),
      ['w', undefined, 'head-1'],
    );
  });

  it('commit: another head than expected writes nothing and is returned', async (hub, other) => {
    await hub.commit('east', commitOf({ records: new Map([['a', bytes('1')]]) }));
    for (const expectedHead of [undefined, bytes('head-0')]) {
      const late = commitOf({
        expectedHead,
        head: bytes('head-x'),
        records: new Map([['a', bytes('x')]]),
        delta: bytes('x'),
      });
      const result = await other.commit('east', late);
      assert.equal(result.ok, false);
      assert.deepEqual(Buffer.from((!result.ok && result.head) || []).toString(), 'head-1');
    }
    const snapshot = await hub.readSnapshot('east');
    assert.deepEqual(Buffer.from(snapshot.records.get('a') ?? []).toString(), '1');
    assert.equal(snapshot.lastId, undefined);
    assert.deepEqual(await hub.commit('none', commitOf({ expectedHead: bytes('h') })), { ok: false, head: undefined });
  });

  it('commit: of many writers at once exactly one wins', async (hub, other) => {
    const tries = Array.from({ length: 20 }, (_, index) =>
      (index % 2 ? hub : other).commit(
        'east',
        commitOf({ head: bytes(`h${index}`), records: new Map([['a', bytes(`${index}`)]]) }),
      ),
    );
    const results = await Promise.all(tries);
    const winners = results.flatMap((result, index) => (result.ok ? [index] : []));
    assert.equal(winners.length, 1);
    const { head, records } = await hub.readSnapshot('east');
    assert.equal(Buffer.from(head ?? []).toString(), `h${winners[0]}`);
    assert.equal(Buffer.from(records.get('a') ?? []).toString(), `${winners[0]}`);
  });

  it('commit: undefined removes a record, others stay', async (hub) => {
    await hub.commit(
      'east',
      commitOf({
        records: new Map([
          ['a', bytes('1')],
          ['b', bytes('2')],
        ]),
      }),
    );
    const records = new Map([
      ['a', undefined],
      ['c', bytes('3')],
    ]);
    await hub.commit('east', commitOf({ expectedHead: bytes('head-1'), head: bytes('head-2'), records }));
    assert.deepEqual([...(await hub.readSnapshot('east')).records.keys()].toSorted(), ['b', 'c']);
  });

  it('commit: a snapshot replaces everything and begins the log anew', async (hub) => {
    await hub.commit('east', commitOf({ records: new Map([['a', bytes('1')]]), delta: bytes('d1') }));
    const { lastId } = await hub.readSnapshot('east');
    assert.notEqual(lastId, undefined);
    const records = new Map([['b', bytes('2')]]);
    await hub.commit(
      'east',
      commitOf({ expectedHead: bytes('head-1'), head: bytes('head-2'), records, snapshot: true }),
    );
    const snapshot = await hub.readSnapshot('east');
    assert.deepEqual([...snapshot.records.keys()], ['b']);
    assert.equal(snapshot.lastId, undefined);
    assert.deepEqual(await hub.readDeltas('east', lastId, 10), { entries: [], gap: true });
  });

  it('readIndex: tells buckets, keys and where the log ends; readRecords fetches some of them', async (hub, other) => {
    const empty = { head: undefined, buckets: new Map(), keys: [], lastId: undefined };
    assert.deepEqual(await hub.readIndex('east'), empty);
    assert.deepEqual(await hub.readRecords('east', ['a']), new Map());
    const records = new Map([
      ['a', bytes('1')],
      ['b', binary],
    ]);
    const first = new Map([
      [0, bytes('d0')],
      [255, binary],
    ]);
    await hub.commit('east', commitOf({ records, buckets: first, snapshot: true }));
    const second = { expectedHead: bytes('head-1'), head: bytes('head-2'), delta: bytes('d') };
    const changes = new Map([
      [0, undefined],
      [16, bytes('d16')],
    ]);
    await hub.commit('east', commitOf({ ...second, buckets: changes }));
    const index = await other.readIndex('east');
    assert.equal(Buffer.from(index.head ?? []).toString(), 'head-2');
    assert.deepEqual(
      new Map([...index.buckets].map(([at, digest]) => [at, Buffer.from(digest)])),
      new Map([
        [255, binary],
        [16, Buffer.from('d16')],
      ]),
    );
    assert.deepEqual([...index.keys].toSorted(), ['a', 'b']);
    assert.equal(index.lastId, (await other.readSnapshot('east')).lastId);
    assert.notEqual(index.lastId, undefined);
    const found = await other.readRecords('east', ['b', 'none']);
    assert.deepEqual([...found.keys()], ['b']);
    assert.deepEqual(Buffer.from(found.get('b') ?? []), binary);
  });

  it('a commit that says nothing of buckets, or replaces everything, leaves none of the old ones', async (hub) => {
    const buckets = new Map([[1, bytes('x')]]);
    await hub.commit('east', commitOf({ buckets }));
    await hub.commit('east', commitOf({ expectedHead: bytes('head-1'), head: bytes('head-2') }));
    assert.equal((await hub.readIndex('east')).buckets.size, 0);
    await hub.commit('east', commitOf({ expectedHead: bytes('head-2'), head: bytes('head-3'), buckets }));
    const other = new Map([[2, bytes('y')]]);
    const next = { expectedHead: bytes('head-3'), head: bytes('head-4'), snapshot: true, buckets: other };
    await hub.commit('east', commitOf(next));
    assert.deepEqual([...(await hub.readIndex('east')).buckets.keys()], [2]);
  });

  it('readDeltas: continues after an id, in order, up to the limit', async (hub) => {
    let expectedHead: Uint8Array | undefined;
    for (let index = 1; index <= 5; index += 1) {
      const head = bytes(`h${index}`);
      await hub.commit('east', commitOf({ expectedHead, head, delta: bytes(`d${index}`) }));
      expectedHead = head;
    }
    const texts = async (afterId: string | undefined, limit: number): Promise<string[]> =>
      (await hub.readDeltas('east', afterId, limit)).entries.map((entry) => Buffer.from(entry.delta).toString());
    const { entries } = await hub.readDeltas('east', undefined, 2);
    assert.deepEqual(await texts(undefined, 2), ['d1', 'd2']);
    assert.deepEqual(await texts(entries[1]?.id, 2), ['d3', 'd4']);
    const { lastId } = await hub.readSnapshot('east');
    assert.deepEqual(await hub.readDeltas('east', lastId, 2), { entries: [], gap: false });
  });

  it('the log is bounded: who is too far behind is told of the gap', async (hub) => {
    let expectedHead: Uint8Array | undefined;
    let first: string | undefined;
    for (let index = 1; index <= 1300; index += 1) {
      const head = bytes(`h${index}`);
      await hub.commit('east', commitOf({ expectedHead, head, delta: bytes('d') }));
      expectedHead = head;
      if (index === 1) first = (await hub.readSnapshot('east')).lastId;
    }
    assert.equal((await hub.readDeltas('east', first, 10)).gap, true);
    const { entries } = await hub.readDeltas('east', undefined, 5000);
    assert.ok(entries.length >= 1000 && entries.length < 1300, `${entries.length} entries`);
  });

  it('chains are found under their id', async (hub, other) => {
    await hub.writeChain('east', 'abc', binary);
    assert.deepEqual(Buffer.from((await other.readChain('east', 'abc')) ?? []), binary);
    assert.equal(await other.readChain('west', 'abc'), undefined);
  });

  it('a lease vanishes when it is not renewed', async (hub, other) => {
    await hub.writeLease('east', bytes('l1'), 10_000);
    await hub.writeLease('west', bytes('l2'), 40);
    const texts = async (): Promise<(string | undefined)[]> =>
      (await other.readLeases(['east', 'west'])).map((lease) => lease && Buffer.from(lease).toString());
    assert.deepEqual(await texts(), ['l1', 'l2']);
    await delay(80);
    assert.deepEqual(await texts(), ['l1', undefined]);
  });

  it('subscribe: hears what others commit, nothing of refused commits, and no more once ended', async (hub, other) => {
    const heard: string[] = [];
    const end = other.subscribe((hint) => {
      if (hint !== '*') heard.push(hint);
    });
    const until = async (count: number): Promise<void> => {
      for (let turn = 0; turn < 200 && heard.length < count; turn += 1) await delay(5);
    };
    // A subscription takes effect a moment after it was asked for.
    let expectedHead: Uint8Array | undefined;
    for (let index = 0; index < 100 && heard.length === 0; index += 1) {
      const head = bytes(`s${index}`);
      await hub.commit('south', commitOf({ expectedHead, head, hint: 'south 1 1' }));
      expectedHead = head;
      await delay(10);
    }
    assert.equal(heard[0], 'south 1 1');
    await delay(30);
    heard.length = 0;
    await hub.commit('east', commitOf({ hint: 'east 1 1' }));
    await hub.commit('east', commitOf({ hint: 'east 1 2' }));
    await hub.commit('east', commitOf({ expectedHead: bytes('head-1'), hint: 'east 1 3' }));
    await until(2);
    assert.deepEqual(heard, ['east 1 1', 'east 1 3']);
    end();
    await hub.commit('east', commitOf({ expectedHead: bytes('head-1'), hint: 'east 1 4' }));
    await delay(30);
    assert.equal(heard.length, 2);
  });
}
