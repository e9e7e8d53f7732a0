import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Liveness } from '../../src/gateway/tunnel/liveness.ts';
import { ProbeWindow, RttRing } from '../../src/gateway/tunnel/rtt.ts';

const rules = { pingIntervalMs: 250, idlePingIntervalMs: 1000, silenceMs: 750 };

/** Runs checks as asked for until the verdict is death or the time is over. */
function play(
  options: { readonly bytes?: (now: number) => number; readonly pongAfterMs?: number; readonly streams?: number },
  untilMs: number,
): { readonly diedAt: number | undefined; readonly pings: number[] } {
  const liveness = new Liveness(rules, 0);
  const pings: number[] = [];
  let pongAt = Number.POSITIVE_INFINITY;
  for (let now = 0; now <= untilMs; ) {
    const verdict = liveness.check(now, options.bytes?.(now) ?? 0, options.streams ?? 1);
    if (verdict.kind === 'dead') return { diedAt: now, pings };
    if (verdict.ping) {
      pings.push(now);
      pongAt = now + (options.pongAfterMs ?? Number.POSITIVE_INFINITY);
    }
    const next = now + verdict.nextMs;
    if (pongAt <= next) {
      liveness.pong(pongAt);
      pongAt = Number.POSITIVE_INFINITY;
    }
    now = next;
  }
  return { diedAt: undefined, pings };
}

describe('Liveness', () => {
  it('declares a silent peer dead after the limit and no later than a ping more', () => {
    assert.equal(play({}, 5000).diedAt, 750);
  });

  it('declares a peer dead that goes on sending and never answers', () => {
    const { diedAt } = play({ bytes: (now) => now + 1 }, 60_000);
    assert.ok(diedAt !== undefined && diedAt >= 30_000 && diedAt < 31_000, `died at ${diedAt}`);
    assert.equal(play({ bytes: (now) => now + 1, pongAfterMs: 20_000 }, 60_000).diedAt, undefined);
  });

  it('counts from the last sign of life, and gives every ping time to be answered', () => {
    const frozenAfter = (pongAt: number): number | undefined => {
      const liveness = new Liveness(rules, 0);
      for (let now = 0; now < 50_000; ) {
        const verdict = liveness.check(now, 0, 0);
        if (verdict.kind === 'dead') return now - pongAt;
        if (verdict.ping && now < pongAt) liveness.pong(Math.min(now + 1, pongAt));
        now += verdict.nextMs;
      }
      return undefined;
    };
    assert.equal(frozenAfter(1), 750, 'the peer froze just after a pong');
    assert.equal(frozenAfter(20_001), 1249, 'an idle session: its next ping came after 749 ms and had 500 ms');
  });

  it('pings four times a second while there are streams, once a second without', () => {
    assert.equal(play({ pongAfterMs: 5 }, 9999).pings.length, 40);
    const idle = play({ pongAfterMs: 5, streams: 0 }, 19_999).pings;
    assert.deepEqual([idle.filter((at) => at < 10_000).length, idle.filter((at) => at >= 10_000).length], [40, 10]);
  });

  it('stays watchful for a while after the last stream', () => {
    const liveness = new Liveness(rules, 0);
    liveness.check(0, 0, 1);
    liveness.pong(1);
    liveness.check(200, 0, 0);
    const verdict = liveness.check(300, 0, 0);
    assert.equal(verdict.kind === 'alive' && verdict.ping, true);
  });

  it('takes bytes for life although the pong is stuck behind them', () => {
    assert.equal(play({ bytes: (now) => now, pongAfterMs: 3000 }, 20_000).diedAt, undefined);
  });

  it('notices when the bytes stop', () => {
    const { diedAt } = play({ bytes: (now) => Math.min(now, 2000) }, 20_000);
    assert.ok(diedAt !== undefined && diedAt >= 2750 && diedAt <= 3100, `died at ${diedAt}`);
  });

  it('has no opinion after it was held up itself', () => {
    const liveness = new Liveness(rules, 0);
    liveness.check(0, 0, 1);
    let now = 5000;
    for (let verdict = liveness.check(now, 0, 1); verdict.kind === 'alive'; verdict = liveness.check(now, 0, 1)) {
      now += verdict.nextMs;
    }
    assert.equal(now, 5750);
  });

  it('does not count the time that it lost little by little', () => {
    const liveness = new Liveness(rules, 0);
    let now = 0;
    let lostMs = 0;
    for (let verdict = liveness.check(now, 0, 1); verdict.kind === 'alive'; verdict = liveness.check(now, 0, 1)) {
      const late = verdict.nextMs > 50 ? 100 : 0;
      now += verdict.nextMs + late;
      lostMs += late;
    }
    assert.ok(lostMs >= 400, `${lostMs} ms lost`);
    assert.ok(now - lostMs >= 700, `dead after ${now} ms, of which ${lostMs} were lost`);
    assert.ok(now < 2000, `dead after ${now} ms`);
  });

  it('measures the round trip', () => {
    const liveness = new Liveness(rules, 0);
    liveness.check(100, 0, 1);
    assert.equal(liveness.pong(142), 42);
  });
});

describe('RttRing', () => {
  it('gives quantiles of the last samples', () => {
    const ring = new RttRing();
    assert.equal(ring.quantile(0.5), undefined);
    for (let ms = 1; ms <= 100; ms += 1) ring.add(ms);
    assert.deepEqual([ring.quantile(0.5), ring.quantile(0.99), ring.quantile(1)], [51, 100, 100]);
    for (let count = 0; count < 128; count += 1) ring.add(7);
    assert.equal(ring.quantile(0.99), 7);
  });
});

describe('ProbeWindow', () => {
  it('forgets after a minute', () => {
    const window = new ProbeWindow();
    assert.equal(window.loss(0), 0);
    for (let now = 0; now < 10_000; now += 1000) window.sent(now);
    window.lost(9000);
    assert.equal(window.loss(10_000), 0.1);
    window.sent(60_000);
    assert.ok(window.loss(62_000) > 0);
    assert.equal(window.loss(75_000), 0);
    assert.equal(window.loss(1_000_000), 0);
  });
});
