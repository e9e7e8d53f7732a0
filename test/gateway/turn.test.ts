import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { corkForTurn } from '../../src/gateway/io/turn.ts';
import { until } from './support/mesh.ts';

/** A hang fails soon, and says where. */
const each = { timeout: 60_000 } as const;

interface Ends {
  readonly near: Socket;
  readonly far: Socket;
  /** What has come at the far end. */
  readonly got: () => string;
}

describe('writing at the end of a turn', () => {
  let server: Server;
  const open: Socket[] = [];

  before(async () => {
    server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });

  after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });

  async function ends(): Promise<Ends> {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const near = connect({ port: address.port, host: '127.0.0.1', allowHalfOpen: true });
    await once(near, 'connect');
    const [far] = await accepted;
    let text = '';
    far.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    for (const socket of [near, far]) open.push(socket.on('error', () => undefined));
    return { near, far, got: () => text };
  }

  it('keeps what is written, and lets it go in its order once the turn is over', each, async () => {
    const [one, two] = [await ends(), await ends()];
    for (const { near } of [one, two]) {
      for (const piece of ['a', 'b']) {
        corkForTurn(near);
        near.write(piece);
      }
      // Large ones do not ask for it, and must not overtake.
      near.write('c'.repeat(10_000));
      assert.equal(near.writableLength, 10_002, 'nothing has gone yet');
    }
    await new Promise((resolve) => void setImmediate(resolve));
    assert.deepEqual([one.near.writableCorked, two.near.writableCorked], [0, 0]);
    for (const { got } of [one, two]) {
      await until('all to arrive', () => got().length === 10_002);
      assert.ok(got().startsWith('abc'));
    }
  });

  it('goes at once when the connection is ended in the same turn', each, async () => {
    const { near, far, got } = await ends();
    corkForTurn(near);
    near.write('last words');
    near.end();
    await once(far, 'end');
    assert.equal(got(), 'last words');
  });

  it('one that is reset meanwhile does not keep the others waiting', each, async () => {
    const [lost, kept] = [await ends(), await ends()];
    for (const { near } of [lost, kept]) {
      corkForTurn(near);
      near.write('x');
    }
    lost.near.resetAndDestroy();
    await until('the other one', () => kept.got() === 'x');
    corkForTurn(kept.near);
    kept.near.write('y');
    await until('the next turn', () => kept.got() === 'xy');
    assert.equal(lost.got(), '');
  });

  it('leaves alone what is no socket', each, () => {
    const stream = new PassThrough();
    corkForTurn(stream);
    assert.equal(stream.writableCorked, 0);
  });
});
