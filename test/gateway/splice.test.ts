import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { type SpliceResult, splice } from '../../src/gateway/io/splice.ts';

/** An end without a network: what its peer says is pushed, what is written to it stays until somebody takes it. */
class End extends Socket {
  readonly #taken: (() => void)[] = [];

  constructor() {
    super({ allowHalfOpen: true });
  }

  override _read(): void {
    // Bytes are pushed.
  }

  override _write(_chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#taken.push(done);
  }

  takeAll(): void {
    for (const done of this.#taken.splice(0)) done();
  }
}

interface Scene {
  readonly client: End;
  readonly upstream: End;
  readonly results: SpliceResult[];
  readonly sweep: (now: number) => void;
}

const limits = { idleTimeoutMs: 1000, lingerMs: 50 };
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

function joined(): Scene {
  const [client, upstream] = [new End(), new End()];
  const results: SpliceResult[] = [];
  const running = splice(client, upstream, (result) => results.push(result));
  return { client, upstream, results, sweep: (now) => running.sweep(now, limits) };
}

describe('splice', { timeout: 10_000 }, () => {
  /** The upstream has said everything and then broken, the client has not taken it yet. */
  async function lingering(): Promise<Scene> {
    const scene = joined();
    scene.sweep(0);
    scene.upstream.push('all of it');
    scene.upstream.push(null);
    await turn();
    scene.upstream.destroy(new Error('reset'));
    await turn();
    assert.equal(scene.client.destroyed, false, 'what has come in full is still delivered');
    scene.sweep(100);
    return scene;
  }

  it('lingers after an abort for what is on its way to the other side, and no longer than its limit', async () => {
    const { client, results, sweep } = await lingering();
    sweep(149);
    assert.equal(client.destroyed, false);
    sweep(150);
    await turn();
    assert.equal(client.destroyed, true);
    assert.deepEqual(
      results.map(({ cause, bytesFromUpstream }) => [cause, bytesFromUpstream]),
      [['upstream-reset', 9]],
    );
  });

  it('ends by itself when the other side takes it in time', async () => {
    const { client, results } = await lingering();
    client.takeAll();
    await turn();
    assert.deepEqual([client.destroyed, client.errored, results.length], [true, null, 1]);
  });

  it('ends what says nothing at its limit, counted from the last byte', async () => {
    const { client, upstream, results, sweep } = joined();
    sweep(0);
    client.push('x');
    await turn();
    sweep(900);
    sweep(1899);
    assert.equal(client.destroyed, false);
    sweep(1900);
    await turn();
    assert.deepEqual([client.destroyed, upstream.destroyed, results[0]?.cause], [true, true, 'idle']);
  });
});
