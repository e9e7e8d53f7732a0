import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { CountedReason } from '../../src/gateway/metrics/refusals.ts';
import { parseReplicaName } from '../../src/model/names.ts';
import type { Svid } from '../../src/model/trust.ts';
import { type Backend, greet, startBackend } from '../support/backend.ts';
import { freePort } from '../support/ports.ts';
import { exchange } from './support/client.ts';
import { errorCode, fields, flag, frame, frameType, settings, uint32 } from './support/frames.ts';
import { createTestCa, gatewayId, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';
import { type RawBehaviour, type RawGateway, startRawGateway } from './support/raw-gateway.ts';
import { goawayCode } from './support/raw-peer.ts';
import { refused } from './support/scrape.ts';

/** In front of all frames of a server: its settings, and that it has ours. */
const hello = Buffer.concat([settings(), frame(frameType.settings, flag.ack, 0)]);
const repeat = (count: number, one: Buffer): Buffer => Buffer.concat(Array.from({ length: count }, () => one));
const status = (code: string) => (stream: number) =>
  frame(frameType.headers, flag.endHeaders, stream, fields([[':status', code]]));

describe('a hostile gateway that was dialled', { timeout: 60_000 }, () => {
  let ca: TestCa;
  let foreign: TestCa;
  let identity: Svid;
  let hostile: RawGateway;
  let west: Node;
  let south: Node;
  let backend: Backend;
  let importPort: number;

  before(async () => {
    ca = createTestCa();
    foreign = createTestCa();
    identity = ca.issue(gatewayId('east', 'gw0'));
    hostile = await startRawGateway({ identity, greeting: hello }, ca.anchor);
    const options = { ca, clusters: ['west', 'east', 'south'], metrics: true };
    south = await startNode('south', options);
    backend = await startBackend(greet('south'));
    south.table.set(tableOf(south, [serviceRoute({ self: 'south', local: [backend.port] })], []));
    west = await startNode('west', {
      ...options,
      limits: { handshakeTimeoutMs: 400, reconnectMaxMs: 100, raceAfterMs: 50, controlFrameBurst: 50, probeMaxMs: 250 },
    });
    importPort = await freePort();
    const imported = serviceRoute({ self: 'west', importPort, remote: ['east', 'south'], exported: false });
    const target = { instance: parseReplicaName('gw0'), address: '127.0.0.1', port: hostile.port };
    const route = clusterRoute([south]);
    const east = { ...route, name: 'east' as Node['name'], gateways: [target] };
    west.table.set(tableOf(west, [imported], [route, east]));
    await linksUp(west, 2);
  });

  after(async () => {
    await Promise.all([west.gateway.close(), south.gateway.close(), hostile.close(), backend.close()]);
    ca.close();
    foreign.close();
  });

  /** Fresh connections are served by the other cluster, whatever this one does. */
  async function othersServe(): Promise<void> {
    for (let count = 0; count < 6; count += 1) {
      const { received, end } = await exchange(importPort, 'hi');
      assert.deepEqual([received.toString(), end], ['south\n', 'eof']);
    }
  }

  interface Attack {
    readonly what: string;
    readonly behaviour: (sound: RawBehaviour) => RawBehaviour;
    readonly reason: CountedReason;
    /** Of the GOAWAY that it gets; undefined: none is asked for. */
    readonly code?: number;
  }
  const says = (...frames: readonly Buffer[]) => ({
    behaviour: (sound: RawBehaviour): RawBehaviour => ({ ...sound, greeting: Buffer.concat([hello, ...frames]) }),
  });
  const answers = (answer: (stream: number) => Buffer) => ({
    behaviour: (sound: RawBehaviour): RawBehaviour => ({ ...sound, answer }),
  });
  const protocol = { reason: 'gateway-protocol' } as const;
  const attacks: readonly Attack[] = [
    { what: 'answers a CONNECT with a redirection', ...answers(status('302')), reason: 'gateway-answer' },
    {
      what: 'speaks no TLS',
      behaviour: (sound) => ({ ...sound, raw: (socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n') }),
      reason: 'gateway-tls',
    },
    {
      what: 'takes the connection and says nothing',
      behaviour: (sound) => ({ ...sound, raw: (socket) => void socket.resume() }),
      reason: 'gateway-timeout',
    },
    {
      what: 'never sends its settings',
      behaviour: (sound) => ({ ...sound, greeting: Buffer.alloc(0) }),
      reason: 'gateway-timeout',
    },
    { what: 'speaks no HTTP/2', behaviour: (sound) => ({ ...sound, alpn: 'http/1.1' }), reason: 'gateway-tls' },
    {
      what: 'has a certificate of a foreign CA',
      behaviour: (sound) => ({ ...sound, identity: foreign.issue(gatewayId('east', 'gw0')) }),
      reason: 'gateway-unauthenticated',
    },
    {
      what: 'is a gateway of another cluster',
      behaviour: (sound) => ({ ...sound, identity: ca.issue(gatewayId('south', 'gw0')) }),
      reason: 'gateway-denied',
    },
    {
      what: 'sends something else than HTTP/2',
      behaviour: (sound) => ({ ...sound, greeting: Buffer.alloc(300, 'HTTP/1.1 200 OK\r\n') }),
      ...protocol,
    },
    {
      what: 'begins with a ping',
      behaviour: (sound) => ({ ...sound, greeting: frame(6, 0, 0, uint32(0)) }),
      ...protocol,
    },
    {
      what: 'asks for a stream window that does not exist',
      ...says(settings([[4, 0x8000_0000]])),
      ...protocol,
      code: errorCode.flowControl,
    },
    {
      what: 'lets its session window overflow',
      ...says(repeat(2, frame(frameType.windowUpdate, 0, 0, uint32(0x7fff_ffff)))),
      ...protocol,
      code: errorCode.flowControl,
    },
    {
      what: 'sends a frame larger than was agreed',
      ...says(frame(frameType.data, 0, 1, Buffer.alloc(20_000))),
      ...protocol,
      code: errorCode.frameSize,
    },
    {
      what: 'answers what was not asked',
      ...says(status('200')(1)),
      ...protocol,
      code: errorCode.protocol,
    },
    {
      what: 'pushes',
      ...answers((stream) => frame(frameType.pushPromise, flag.endHeaders, stream, uint32(2))),
      ...protocol,
      code: errorCode.protocol,
    },
    {
      what: 'sends fields that cannot be decompressed',
      ...answers((stream) =>
        frame(frameType.headers, flag.endHeaders, stream, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0x0f])),
      ),
      ...protocol,
      code: errorCode.compression,
    },
    {
      what: 'answers with continuations without end',
      ...answers((stream) => {
        const more = frame(frameType.continuation, 0, stream, fields([['x', 'y'.repeat(500)]]));
        return Buffer.concat([frame(frameType.headers, 0, stream, fields([[':status', '200']])), repeat(2000, more)]);
      }),
      ...protocol,
    },
    {
      what: 'floods with pings',
      ...says(repeat(200, frame(frameType.ping, 0, 0, Buffer.alloc(8)))),
      reason: 'gateway-control-flood',
      code: errorCode.enhanceYourCalm,
    },
    {
      what: 'floods with settings',
      ...says(repeat(200, settings([[3, 100]]))),
      reason: 'gateway-control-flood',
      code: errorCode.enhanceYourCalm,
    },
    {
      what: 'answers no ping and nothing else',
      behaviour: (sound) => ({ ...sound, answersPings: false }),
      reason: 'gateway-silent',
    },
  ];
  for (const { what, behaviour, reason, code } of attacks) {
    it(`${what}: is counted, and nobody notices`, async () => {
      const earlier = await refused(west, reason);
      hostile.behave(behaviour({ identity, greeting: hello }));
      let now = earlier;
      const deadline = performance.now() + 20_000;
      while (now === earlier && performance.now() < deadline) {
        await othersServe();
        now = await refused(west, reason);
      }
      assert.ok(now > earlier, `counted under ${reason}`);
      if (code !== undefined) await until('a GOAWAY', () => goawayCode(hostile.frames()) === code);
      await othersServe();
    });
  }

  it('gets a line of the log in a minute, not one for each attack', () => {
    const lines = west.log.filter(({ message }) => message === 'a peer was refused');
    assert.equal(lines.length, 1, JSON.stringify(lines));
    const moves = west.log.filter(({ message }) => message.startsWith('link is '));
    assert.ok(moves.length <= 14, `${moves.length} lines about its coming and going`);
  });
});
