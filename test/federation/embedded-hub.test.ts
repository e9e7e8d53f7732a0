import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEmbeddedHub } from '../../src/federation/io/embedded-hub.ts';
import type { Hub } from '../../src/model/ports/hub.ts';
import { hubContract } from '../contract/hub.contract.ts';

hubContract('embedded hub', async () => {
  let hub = createEmbeddedHub();
  // The same object for both; a new one is as good as an empty one.
  const current = new Proxy({} as Hub, {
    get: (_, name: keyof Hub) => {
      const member = hub[name];
      return typeof member === 'function' ? member.bind(hub) : member;
    },
  });
  return {
    hub: current,
    other: current,
    clear: async () => {
      await hub.close();
      hub = createEmbeddedHub();
    },
    close: () => hub.close(),
  };
});

test('createEmbeddedHub: does not keep what callers go on to change', async () => {
  const hub = createEmbeddedHub();
  const value = Buffer.from('before');
  const commit = { expectedHead: undefined, head: value, snapshot: false, delta: undefined, hint: 'east 1 1' };
  await hub.commit('east', { ...commit, records: new Map([['a', value]]) });
  value.write('AFTER!');
  const { head, records } = await hub.readSnapshot('east');
  assert.equal(Buffer.from(head ?? []).toString(), 'before');
  assert.equal(Buffer.from(records.get('a') ?? []).toString(), 'before');
  await hub.close();
});

test('createEmbeddedHub: a closed hub is unavailable', async () => {
  const hub = createEmbeddedHub();
  await hub.close();
  await assert.rejects(hub.readHeads(['east']), { code: 'unavailable' });
});
