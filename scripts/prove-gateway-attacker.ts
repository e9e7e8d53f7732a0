import { setTimeout as sleep } from 'node:timers/promises';
import type { Svid } from '../src/model/trust.ts';
import { errorCode, fields, frame, frameType, preface, settings, uint32 } from '../test/gateway/support/frames.ts';
import { connectFrame, dialRaw, hello, type RawPeer } from '../test/gateway/support/raw-peer.ts';

/** A peer with a good certificate that attacks a gateway, as a process of its own: it must not slow down who watches. */
export interface AttackOrder {
  readonly attack: string;
  readonly port: number;
  readonly identity: Svid;
  readonly anchor: Uint8Array;
}

/** Sessions at once, all of one peer. */
const sessions = 8;
/** Of each session. */
const streams = 400;
const attackMs = 6000;
/** Connections that it opens at once and keeps, where that is the attack. */
export const attackStreams: number = sessions * streams;

const web = 'web.shop.svc.clusterset.local:80';
const spring = 'spring.shop.svc.clusterset.local:80';
const repeat = (count: number, make: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));
const odd = (index: number): number => index * 2 + 1;
const opened = (more: (stream: number) => Buffer): Buffer =>
  repeat(streams, (index) =>
    Buffer.concat([
      connectFrame(odd(index), spring),
      frame(frameType.data, 0, odd(index), Buffer.from('x')),
      more(odd(index)),
    ]),
  );
const nothing = (): Buffer => Buffer.alloc(0);

/** One session of the attacker, until it is over. */
type Attack = (peer: RawPeer) => Promise<unknown>;

/** The session goes on until the gateway ends it or the attack is over. */
const stays = async (peer: RawPeer): Promise<unknown> => Promise.race([peer.closed, sleep(attackMs)]);

const attacks: Readonly<Record<string, Attack>> = {
  'rapid-reset': async (peer) => {
    const cancel = (stream: number): Buffer => frame(frameType.rstStream, 0, stream, uint32(errorCode.cancel));
    const wave = (from: number): Buffer =>
      repeat(2000, (index) => Buffer.concat([connectFrame(odd(from + index), web), cancel(odd(from + index))]));
    peer.send(hello);
    for (let from = 0; !peer.socket.destroyed && from < 60_000; from += 2000) {
      peer.send(wave(from));
      await sleep(5);
    }
    return peer.closed;
  },
  continuation: async (peer) => {
    const part = fields([['x', 'y'.repeat(500)]]);
    peer.send(hello, frame(frameType.headers, 0, 1, fields([[':method', 'CONNECT']])));
    for (let sent = 0; !peer.socket.destroyed && sent < 100_000; sent += 500) {
      peer.send(repeat(500, () => frame(frameType.continuation, 0, 1, part)));
      await sleep(5);
    }
    return peer.closed;
  },
  // Each stream gets one byte at a time, and windows that go up and down.
  'window-games': async (peer) => {
    const initial = (bytes: number): Buffer => settings([[4, bytes]]);
    peer.send(preface, initial(1), opened(nothing));
    for (let turn = 0; !peer.socket.destroyed && turn < attackMs / 50; turn += 1) {
      await sleep(50);
      peer.send(repeat(streams, (index) => frame(frameType.windowUpdate, 0, odd(index), uint32(1))));
      // Within the bound of SETTINGS frames a second, so that the session goes on.
      if (turn % 4 === 0) peer.send(initial(turn % 8 === 0 ? 0 : 65_535));
    }
  },
  // Windows are wide open; it reads a little at a time.
  'slow-reader': async (peer) => {
    const open = frame(frameType.windowUpdate, 0, 0, uint32(0x7000_0000));
    peer.send(preface, settings([[4, 0x7fff_ffff]]), open, opened(nothing));
    for (const until = performance.now() + attackMs; !peer.socket.destroyed && performance.now() < until; ) {
      peer.socket.pause();
      await sleep(100);
      peer.socket.resume();
      await sleep(1);
    }
  },
  // The socket is never read at all.
  'never-reads': async (peer) => {
    peer.socket.pause();
    const open = frame(frameType.windowUpdate, 0, 0, uint32(0x7000_0000));
    peer.send(preface, settings([[4, 0x7fff_ffff]]), open, opened(nothing));
    return stays(peer);
  },
  // Streams whose window stays shut.
  'shut-windows': async (peer) => {
    peer.send(preface, settings([[4, 0]]), opened(nothing));
    return stays(peer);
  },
};

async function carryOut({ attack, port, identity, anchor }: AttackOrder): Promise<number> {
  const session = attacks[attack];
  if (!session) throw new Error(`No attack '${attack}'`);
  const until = performance.now() + attackMs;
  let count = 0;
  const attacker = async (): Promise<void> => {
    while (performance.now() < until) {
      count += 1;
      try {
        const peer = await dialRaw(port, identity, anchor);
        await session(peer).finally(() => peer.socket.destroy());
      } catch {
        // It was turned away in the handshake, as it deserves.
        await sleep(20);
      }
    }
  };
  await Promise.all(Array.from({ length: sessions }, attacker));
  return count;
}

if (import.meta.main) {
  process.once('message', (order: AttackOrder) => {
    void carryOut(order).then((count) => process.send?.(count, () => process.exit(0)));
  });
  process.once('disconnect', () => process.exit(1));
}
