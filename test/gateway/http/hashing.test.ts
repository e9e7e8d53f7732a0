import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LoadBalancingPlan } from '../../../src/model/traffic.ts';
import { exchange } from '../support/client.ts';
import { type Pair, startPair } from './support/pair.ts';
import { startStage } from './support/stage.ts';

const timeout = 60_000;
const rebuildMs = 100;
const users = Array.from({ length: 60 }, (_, index) => `user-${index}`);
const byHeader: LoadBalancingPlan = {
  algorithm: 'consistentHash',
  hash: { by: 'header', name: 'x-user' },
  slowStartMs: 0,
};
const byCookie: LoadBalancingPlan = { ...byHeader, hash: { by: 'cookie', name: 'sid' } };

/** A backend that says its name. */
const named = (name: number) => (socket: Socket) => {
  const body = `backend-${name}`;
  socket.on('end', () => socket.end());
  socket.on('data', (chunk: Buffer) => {
    if (!chunk.includes('\r\n\r\n')) return;
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  });
};
const four = [0, 1, 2, 3].map(named);

async function ask(port: number, fields: string): Promise<string> {
  const { received } = await exchange(port, `GET / HTTP/1.1\r\nHost: shop\r\n${fields}\r\n`);
  return /backend-\d$/.exec(received.toString())?.[0] ?? received.toString();
}

/** Where each user's requests end up; all of one user's in one place. */
async function placesOf(port: number, fieldsOf: (user: string) => string): Promise<Map<string, string>> {
  const places = new Map<string, string>();
  for (let round = 0; round < 3; round += 1) {
    for (const user of users) {
      const place = await ask(port, fieldsOf(user));
      assert.match(place, /^backend-/);
      assert.equal(places.get(user) ?? place, place, `${user} went elsewhere`);
      places.set(user, place);
    }
  }
  return places;
}

const header = (user: string): string => `X-User: ${user}\r\n`;
const cookie = (user: string): string => `Cookie: theme=dark; sid=${user}\r\nCookie: last=1\r\n`;

for (const [name, plan, fieldsOf] of [
  ['a header', byHeader, header],
  ['a cookie', byCookie, cookie],
] as const) {
  describe(`consistentHash by ${name}`, () => {
    it('sends the requests of one user to one endpoint, and those of many to all', { timeout }, async () => {
      const stage = await startStage({ serve: four, route: { loadBalancing: plan } });
      try {
        const places = await placesOf(stage.port, fieldsOf);
        assert.equal(new Set(places.values()).size, 4);
        // Without it the client's address decides: one address, one endpoint.
        const others = await Promise.all(users.map(() => ask(stage.port, '')));
        assert.equal(new Set(others).size, 1);

        const gone = others[0] ?? '';
        stage.setRoute((route) => ({
          ...route,
          endpoints: route.endpoints.filter((_, index) => `backend-${index}` !== gone),
        }));
        // The table of places is made anew at most so often.
        await sleep(rebuildMs + 50);
        const after = await placesOf(stage.port, fieldsOf);
        const moved = users.filter((user) => places.get(user) !== after.get(user));
        const had = users.filter((user) => places.get(user) === gone);
        assert.ok(had.every((user) => moved.includes(user)));
        assert.ok(moved.length - had.length <= users.length / 4, `${moved.length} moved, ${had.length} had to`);
      } finally {
        await stage.close();
      }
    });

    it('does so through another gateway: the tunnel carries the bucket', { timeout }, async () => {
      const pair: Pair = await startPair({ serve: four });
      try {
        pair.setEast((route) => ({ ...route, loadBalancing: plan }));
        pair.setWest((route) => ({ ...route, loadBalancing: plan }));
        const places = await placesOf(pair.port, fieldsOf);
        assert.ok(new Set(places.values()).size >= 3);
      } finally {
        await pair.close();
      }
    });
  });
}

describe('x-isthmus-served-by', () => {
  it('names the cluster that served, wherever that is, to a client that asks', { timeout }, async () => {
    const pair = await startPair({ serve: [named(0)] });
    try {
      const { received } = await exchange(pair.port, 'GET / HTTP/1.1\r\nHost: shop\r\nX-Isthmus-Served-By: ?\r\n\r\n');
      assert.match(received.toString(), /\r\nx-isthmus-served-by: east\r\n/);
      const { received: other } = await exchange(pair.port, 'GET / HTTP/1.1\r\nHost: shop\r\n\r\n');
      assert.doesNotMatch(other.toString(), /isthmus/);
    } finally {
      await pair.close();
    }
  });
});
