import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  performServerHandshake,
  type ServerHttp2Session,
} from 'node:http2';
import { connect, createServer, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { watchSession } from '../../src/gateway/io/watchdog.ts';
import { systemClock as clock } from '../../src/runtime/io/clock.ts';
import { until } from './support/mesh.ts';

interface Pair {
  readonly client: ClientHttp2Session;
  readonly server: ServerHttp2Session;
  readonly ends: { readonly client: Socket; readonly server: Socket };
  /** From now on nothing gets through, and nobody is told. */
  readonly freeze: () => void;
}

async function listen(t: TestContext): Promise<{ readonly port: number; readonly accepted: Promise<Socket> }> {
  const listener = createServer({ allowHalfOpen: true });
  const accepted = once(listener, 'connection').then(([socket]: Socket[]) => {
    assert.ok(socket);
    t.after(() => socket.destroy());
    return socket.on('error', () => undefined);
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  t.after(() => listener.close());
  const address = listener.address();
  assert.ok(address !== null && typeof address === 'object');
  return { port: address.port, accepted };
}

/** One HTTP/2 session over a relay, with a stream open on it. */
async function pairWithStream(t: TestContext): Promise<Pair> {
  const [relay, target] = [await listen(t), await listen(t)];
  const near = connect(relay.port, '127.0.0.1');
  const onward = connect(target.port, '127.0.0.1');
  const [entered, far] = await Promise.all([relay.accepted, target.accepted]);
  entered.pipe(onward.on('error', () => undefined)).pipe(entered);
  const server = performServerHandshake(far);
  server.on('error', () => undefined).on('stream', (stream) => stream.on('error', () => undefined).respond());
  const client = connectHttp2('http://peer', { createConnection: () => near });
  client.on('error', () => undefined);
  t.after(() => {
    for (const end of [client, server, near, onward]) end.destroy();
  });
  const stream = client.request({ ':method': 'POST' }, { endStream: false });
  stream.on('error', () => undefined);
  await once(stream, 'response');
  const freeze = (): void => {
    for (const end of [entered, onward]) end.unpipe().pause();
  };
  return { client, server, ends: { client: near, server: far }, freeze };
}

interface Watched {
  answers: number;
  dead: boolean;
}

function watch(t: TestContext, session: ClientHttp2Session | ServerHttp2Session, socket: Socket): Watched {
  const seen: Watched = { answers: 0, dead: false };
  const unwatch = watchSession(session, {
    socket,
    clock,
    rules: { pingIntervalMs: 20, idlePingIntervalMs: 20, silenceMs: 1000 },
    streams: () => 1,
    onRtt: () => {
      seen.answers += 1;
    },
    onDead: () => {
      seen.dead = true;
      session.destroy();
    },
  });
  t.after(unwatch);
  return seen;
}

describe('the watchdog of a session', { timeout: 60_000 }, () => {
  it('hears its peer also while both of them only wait for a silent stream to end', async (t) => {
    const { client, server, ends } = await pairWithStream(t);
    const [near, far] = [watch(t, client, ends.client), watch(t, server, ends.server)];
    server.close();
    await until('the client to be told', () => client.closed);
    const before = { near: near.answers, far: far.answers };
    await until('answers at both ends', () => near.answers > before.near + 20 && far.answers > before.far + 20);
    assert.deepEqual([near.dead, far.dead, client.destroyed, server.destroyed], [false, false, false, false]);
  });

  it('notices there, too, that its peer has gone silent', async (t) => {
    const { client, server, ends, freeze } = await pairWithStream(t);
    const near = watch(t, client, ends.client);
    server.close();
    await until('the client to be told', () => client.closed);
    freeze();
    await until('the client to give its peer up', () => near.dead);
  });
});
