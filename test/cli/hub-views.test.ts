import assert from 'node:assert/strict';
import { test } from 'node:test';
import { acceptedView, eventsView, hubReportView, hubUsersView, leaveView } from '../../src/cli/views/hub.ts';

const plain = { wide: false, headers: true, colour: false };

test('hub acl: lines that redis-cli takes as they are', () => {
  const view = hubUsersView([{ user: 'isthmus-east', line: 'ACL SETUSER isthmus-east on' }]);
  assert.equal(view.text(plain), 'ACL SETUSER isthmus-east on\n');
  assert.deepEqual(view.names, ['hubuser/isthmus-east']);
});

test('hub check: marks, advice under what needs it, and one verdict', () => {
  const view = hubReportView({
    hub: 'redis://h:6379/0',
    checks: [
      { check: 'version', level: 'ok', detail: 'Redis 7.0.15' },
      { check: 'eviction', level: 'failed', detail: `policy 'lru'`, fix: 'Set noeviction' },
      { check: 'clock', level: 'warning', detail: '2000 ms behind', fix: 'NTP' },
    ],
  });
  assert.equal(
    view.text(plain),
    `√ version   Redis 7.0.15\n× eviction  policy 'lru'\n            → Set noeviction\n` +
      `‼ clock     2000 ms behind\n            → NTP\n\nredis://h:6379/0: 1 check failed.\n`,
  );
});

test('events: a table, or a word that there are none', () => {
  const row = { cluster: 'west', kind: 'rollback', detail: 'old', count: 2, firstAgoMs: 60_000, agoMs: 1000 };
  assert.match(eventsView([row]).text(plain), /^AGO +CLUSTER +EVENT +COUNT +MESSAGE\n1.0s +west +rollback +2 +old\n$/);
  assert.match(eventsView([row]).text({ ...plain, wide: true }), /FIRST/);
  assert.equal(eventsView([]).text(plain), 'Nothing has happened.\n');
});

test('hub accept and leave: what was done, in a sentence', () => {
  assert.equal(acceptedView({ cluster: 'west', exports: 1 }).text(plain), 'Accepted: 1 export of west goes.\n');
  assert.equal(acceptedView({ cluster: 'west', exports: 0 }).text(plain), 'Nothing of west was held back.\n');
  assert.match(
    leaveView({ cluster: 'west', exports: 2, told: true }).text(plain),
    /withdrawn 2 exports, said good-bye/,
  );
  const untold = leaveView({ cluster: 'west', exports: 2, told: false, problem: 'no hub' });
  assert.match(untold.text(plain), /could not tell the others \(no hub\)/);
});
