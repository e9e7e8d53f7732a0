import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Candidate, race, type RaceResult } from '../../src/gateway/balance/race.ts';
import { IsthmusError } from '../../src/model/error.ts';
import { FakeClock } from './support/fake-clock.ts';

const rules = { connectDeadlineMs: 5000 };

interface Scripted extends Candidate<string> {
  readonly name: string;
  readonly events: string[];
  win(): void;
  lose(): void;
}

function candidate(name: string, raceAfterMs = 250): Scripted {
  let won: (value: string) => void = () => undefined;
  let lost: (error: IsthmusError) => void = () => undefined;
  const events: string[] = [];
  return {
    name,
    raceAfterMs,
    timeoutMs: 2000,
    events,
    start(onWon, onLost) {
      events.push('start');
      won = onWon;
      lost = onLost;
      return { cancel: (why) => void events.push(why) };
    },
    win: () => won(name),
    lose: () => lost(new IsthmusError('unavailable', `${name} refused`)),
  };
}

function run(candidates: readonly Scripted[]): {
  readonly clock: FakeClock;
  readonly results: RaceResult<string>[];
  readonly stop: () => void;
} {
  const clock = new FakeClock();
  const results: RaceResult<string>[] = [];
  const stop = race(candidates, { clock, rules, done: (result) => void results.push(result) });
  return { clock, results, stop };
}

describe('race', () => {
  it('uses the first candidate alone when it answers in time', () => {
    const [a, b] = [candidate('a'), candidate('b')];
    const { clock, results } = run([a, b]);
    clock.advance(249);
    a.win();
    clock.advance(10_000);
    assert.deepEqual(results, [{ won: 'a', attempts: 1, error: undefined }]);
    assert.deepEqual(b.events, []);
    assert.equal(clock.pending, 0);
  });

  it('follows a failure at once', () => {
    const [a, b] = [candidate('a'), candidate('b')];
    const { results } = run([a, b]);
    a.lose();
    b.win();
    assert.deepEqual(results, [{ won: 'b', attempts: 2, error: undefined }]);
  });

  it('starts the next beside a silent one and cancels whichever is overtaken', () => {
    const [a, b] = [candidate('a'), candidate('b')];
    const { clock, results } = run([a, b]);
    clock.advance(250);
    assert.deepEqual(b.events, ['start']);
    a.win();
    assert.deepEqual([results[0]?.won, b.events], ['a', ['start', 'overtaken']]);
    b.win();
    assert.equal(results.length, 1);
  });

  it('keeps two abreast at most, and gives each its own time', () => {
    const all = ['a', 'b', 'c', 'd'].map((name) => candidate(name));
    const { clock, results } = run(all);
    clock.advance(1999);
    assert.deepEqual(
      all.map(({ events }) => events.length),
      [1, 1, 0, 0],
    );
    clock.advance(1);
    assert.deepEqual(all[0]?.events, ['start', 'timeout']);
    assert.deepEqual(all[2]?.events, ['start']);
    all[2]?.win();
    assert.equal(results[0]?.won, 'c');
    assert.deepEqual(all[1]?.events, ['start', 'overtaken']);
  });

  it('ends with the last failure when nothing wins', () => {
    const [a, b] = [candidate('a'), candidate('b')];
    const { clock, results } = run([a, b]);
    a.lose();
    b.lose();
    assert.equal(results[0]?.won, undefined);
    assert.equal(results[0]?.error?.message, 'b refused');
    assert.equal(results[0]?.attempts, 2);
    assert.equal(clock.pending, 0);
  });

  it('ends at once without candidates', () => {
    const { results, clock } = run([]);
    assert.deepEqual(results, [{ won: undefined, attempts: 0, error: undefined }]);
    assert.equal(clock.pending, 0);
  });

  it('ends at the deadline whatever is still running', () => {
    const all = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name) => candidate(name));
    const { clock, results } = run(all);
    clock.advance(5000);
    assert.equal(results[0]?.error?.code, 'timeout');
    assert.equal(clock.pending, 0);
    assert.ok(
      all.every(({ events }) => events.length !== 1),
      'what was started was cancelled',
    );
  });

  it('is silent after it was stopped', () => {
    const [a, b] = [candidate('a'), candidate('b')];
    const { clock, results, stop } = run([a, b]);
    stop();
    a.win();
    clock.advance(10_000);
    assert.deepEqual([results, a.events, clock.pending], [[], ['start', 'unwanted'], 0]);
  });

  it('gives a candidate a moment more when this process itself was held up', () => {
    const [a, b] = [candidate('a'), candidate('b')];
    const { clock, results } = run([a, b]);
    clock.stall(1500);
    assert.deepEqual(b.events, [], 'the answer may be waiting to be read');
    a.win();
    assert.equal(results[0]?.won, 'a');
  });
});
