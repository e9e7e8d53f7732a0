import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { afterEach, describe, it } from 'node:test';
import type { ConnectionFacts } from '../../src/gateway/access-log.ts';
import type { Candidate } from '../../src/gateway/balance/race.ts';
import { ServiceBook } from '../../src/gateway/balance/service-book.ts';
import type { ServiceEntry } from '../../src/gateway/balance/service-entry.ts';
import { Connections } from '../../src/gateway/io/connections.ts';
import type { Dialled } from '../../src/gateway/io/dial.ts';
import { type GatewayLimits, limitsOf } from '../../src/gateway/limits.ts';
import { parseSpiffeId, type SpiffeId } from '../../src/model/identity.ts';
import { parseClusterName, parseServiceKey } from '../../src/model/names.ts';
import { step } from '../../src/policy/shares.ts';
import { FakeClock } from './support/fake-clock.ts';
import { gatewayId } from './support/identities.ts';
import { serviceRoute } from './support/mesh.ts';

const east = parseClusterName('east');
const key = parseServiceKey('shop/web');
const [one, another] = [parseSpiffeId(gatewayId('west', 'gw0')), parseSpiffeId(gatewayId('west', 'gw1'))];

describe('Connections', () => {
  let sockets: Socket[] = [];

  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    sockets = [];
  });

  interface Scene {
    readonly connections: Connections;
    readonly entry: ServiceEntry;
    /** A client of that peer, whose upstream never answers. */
    readonly pending: (peer: SpiffeId) => Socket;
  }

  function scene(limits: Partial<GatewayLimits>): Scene {
    const clock = new FakeClock();
    const all = limitsOf(limits);
    const book = new ServiceBook({ self: east, step, rules: all, reach: () => 'up', onChange: () => undefined });
    const route = serviceRoute({ self: 'east', local: [1] });
    book.setTable({ self: east, services: new Map([[key, route]]), clusters: new Map() }, 0);
    const entry = book.get(key);
    assert.ok(entry);
    const connections = new Connections({ limits: all, clock, accessLog: undefined });
    const silent: Candidate<Dialled> = {
      timeoutMs: 1000,
      raceAfterMs: 1000,
      start: () => ({ cancel: () => undefined }),
    };
    const pending = (peer: SpiffeId): Socket => {
      const about: ConnectionFacts = {
        direction: 'inbound',
        remoteAddress: '127.0.0.1:1',
        sourceCluster: parseClusterName('west'),
        peer,
        sourceIdentity: undefined,
        rule: undefined,
        traceparent: undefined,
      };
      const client = new Socket();
      sockets.push(client);
      connections.carry({ client, entry, port: 80, candidates: [silent], about, refuse: () => undefined });
      return client;
    };
    return { connections, entry, pending };
  }

  it('keeps one peer from having all that may be in the making', () => {
    const { connections, entry, pending } = scene({ pendingConnects: 3, pendingConnectsPerPeer: 2 });
    const [first] = [pending(one), pending(one)];
    assert.equal(connections.overload(entry, one), 'pendingConnectsPerPeer');
    assert.equal(connections.overload(entry, another), undefined);
    assert.equal(connections.busiestPeer.pending, 2);
    pending(another);
    assert.equal(connections.overload(entry, another), 'pendingConnects');
    first.emit('close');
    assert.deepEqual([connections.pending, connections.busiestPeer.pending], [2, 1]);
    assert.equal(connections.overload(entry, one), undefined);
  });
});
