import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { after, before, describe, it } from 'node:test';
import { dialTls, secureContextOf } from '../../src/runtime/io/tls.ts';
import type { Svid } from '../../src/model/trust.ts';
import { type Backend, echo, startBackend } from '../support/backend.ts';
import { failOnLeak } from '../support/leak.ts';
import { fields, flag, frame, frameType, preface } from './support/frames.ts';
import { createTestCa, gatewayId, type TestCa } from './support/identities.ts';
import { type Node, quiet, serviceRoute, startNode, tableOf } from './support/mesh.ts';
import { connectFrame, dialRaw, hello } from './support/raw-peer.ts';
import { seeded, seededBytes } from './support/seeded.ts';

const web = 'web.shop.svc.clusterset.local:80';
/** Sessions of each kind; their seeds are 1 to this. `ISTHMUS_FUZZ_SESSIONS` for a longer look. */
const sessions = Number(process.env['ISTHMUS_FUZZ_SESSIONS'] ?? 80);

type Make = (random: () => number) => Buffer;

const noise: Make = (random) => Buffer.concat([preface, seededBytes(random, 1 + Math.floor(random() * 2000))]);

/** Frames of known and unknown types whose content, flags and streams are arbitrary. */
const wildFrames: Make = (random) => {
  const frames = Array.from({ length: 1 + Math.floor(random() * 40) }, () =>
    frame(
      Math.floor(random() * 12),
      Math.floor(random() * 256),
      Math.floor(random() * 8),
      seededBytes(random, Math.floor(random() ** 3 * 400)),
    ),
  );
  return Buffer.concat([hello, ...frames]);
};

/** A sound session in which single bytes were changed. */
const bitten: Make = (random) => {
  const sound = Buffer.concat([
    hello,
    connectFrame(1, web),
    frame(frameType.data, 0, 1, Buffer.from('hello')),
    connectFrame(3, web),
    frame(frameType.data, flag.endStream, 3, Buffer.from('bye')),
  ]);
  for (let bite = Math.floor(random() * 6); bite >= 0; bite -= 1) {
    sound[preface.length + Math.floor(random() * (sound.length - preface.length))] = Math.floor(random() * 256);
  }
  return sound;
};

/** CONNECT with arbitrary fields, among them those that the gateway reads. */
const wildHeaders: Make = (random) => {
  const names = [':authority', ':path', 'x-isthmus-hop', 'x-isthmus-source-identity', 'baggage', 'forwarded', 'a'];
  const text = (): string => seededBytes(random, Math.floor(random() ** 2 * 300)).toString('latin1');
  const streams = Array.from({ length: 10 }, (_, index) => {
    const some = Array.from({ length: Math.floor(random() * 8) }, (): [string, string] => [
      random() < 0.9 ? (names[Math.floor(random() * names.length)] ?? '') : text(),
      random() < 0.5 ? web : text(),
    ]);
    const block = fields([[':method', random() < 0.9 ? 'CONNECT' : text()], ...some]);
    return frame(frameType.headers, flag.endHeaders, index * 2 + 1, block);
  });
  return Buffer.concat([hello, ...streams]);
};

describe('a gateway under random input', () => {
  let ca: TestCa;
  let east: Node;
  let backend: Backend;
  let attacker: Svid;

  before(async () => {
    ca = createTestCa();
    attacker = ca.issue(gatewayId('west', 'attacker'));
    east = await startNode('east', { ca, clusters: ['west', 'east'] });
    backend = await startBackend(echo);
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port] })], []));
  });

  after(async () => {
    await Promise.all([east.gateway.close(), backend.close()]);
    ca.close();
  });

  async function echoes(): Promise<void> {
    const { socket } = await dialTls({
      host: '127.0.0.1',
      port: east.gateway.hbonePort,
      context: secureContextOf({ identity: attacker, anchors: [ca.anchor] }),
      alpn: ['h2'],
      check: () => undefined,
      timeoutMs: 2000,
    });
    const session = connectHttp2('http://east', { createConnection: () => socket });
    const stream = session.request({ ':method': 'CONNECT', ':authority': web }, { endStream: false });
    stream.write('sound');
    const [chunk] = (await once(stream, 'data')) as [Buffer];
    assert.equal(chunk.toString(), 'sound');
    session.destroy();
  }

  const kinds: readonly (readonly [string, Make])[] = [
    ['noise', noise],
    ['frames that make no sense', wildFrames],
    ['sessions with changed bytes', bitten],
    ['CONNECT headers', wildHeaders],
  ];
  for (const [what, make] of kinds) {
    it(`goes on after ${sessions} sessions of ${what}, and keeps nothing of them`, async (t) => {
      await echoes();
      const leak = failOnLeak(t);
      for (let seed = 1; seed <= sessions; seed += 1) {
        const peer = await dialRaw(east.gateway.hbonePort, attacker, ca.anchor);
        peer.socket.end(make(seeded(seed)));
        await peer.closed;
        if (seed % 20 === 0) await echoes();
      }
      await quiet(east);
      await leak.check();
    });
  }
});
