import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RefusalLog } from '../../src/gateway/io/refusal-log.ts';
import { FakeClock } from './support/fake-clock.ts';
import { type LogLine, recordingLog } from './support/mesh.ts';

describe('RefusalLog', () => {
  function started(): { log: RefusalLog; clock: FakeClock; lines: LogLine[]; counts: Map<string, number> } {
    const clock = new FakeClock();
    const lines: LogLine[] = [];
    const counts = new Map<string, number>();
    const count = (reason: string): void => void counts.set(reason, (counts.get(reason) ?? 0) + 1);
    return { log: new RefusalLog(recordingLog(lines), clock, { count }), clock, lines, counts };
  }

  it('writes each peer once a minute, and then how many it left out; counts all', () => {
    const { log, clock, lines, counts } = started();
    for (let index = 0; index < 5; index += 1) log.note('peer', 'rapid-reset', 'too much');
    log.note('other', 'malformed', 'no path');
    assert.deepEqual(
      lines.map(({ fields }) => fields),
      [
        { address: 'peer', reason: 'too much', unlogged: 0 },
        { address: 'other', reason: 'no path', unlogged: 0 },
      ],
    );
    clock.advance(59_999);
    log.note('peer', 'rapid-reset', 'too much');
    assert.equal(lines.length, 2, 'not yet a minute');
    clock.advance(1);
    log.note('peer', 'rapid-reset', 'again');
    assert.deepEqual(lines.at(-1)?.fields, { address: 'peer', reason: 'again', unlogged: 5 });
    assert.deepEqual(
      [...counts],
      [
        ['rapid-reset', 7],
        ['malformed', 1],
      ],
    );
  });

  it('goes on for a peer that never stops: once in each minute', () => {
    const { log, clock, lines } = started();
    for (let second = 0; second < 600; second += 1) {
      log.note('peer', 'malformed');
      clock.advance(1000);
    }
    assert.equal(lines.length, 10);
  });

  it('forgets the peers it has not logged for the longest when there are too many', () => {
    const { log, lines, counts } = started();
    for (let peer = 0; peer <= 1000; peer += 1) log.note(`peer ${peer}`, 'malformed');
    log.note('peer 1', 'malformed');
    assert.equal(lines.length, 1001, 'still known');
    log.note('peer 0', 'malformed');
    assert.equal(lines.length, 1002, 'was forgotten');
    assert.equal(counts.get('malformed'), 1003);
  });
});
