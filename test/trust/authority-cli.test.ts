import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { AuthorityStatus, ClusterRow } from '../../src/model/status.ts';
import type { IntermediateRow, TokenRow } from '../../src/model/trust-report.ts';
import { authorityConfig, json, ok, refused, type Running, runningAuthority, say } from './support/cli.ts';

/** The verbs of an authority that has its root, as an operator types them. */

const home = process.cwd();
let dir = '';
let file = '';
let authority: Running | undefined;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-authority-'));
  process.chdir(dir);
});

after(async () => {
  await authority?.stop();
  process.chdir(home);
  await rm(dir, { recursive: true, force: true });
});

suite('an authority with its root', () => {
  test('is initialised once, and runs', async () => {
    file = await authorityConfig('main', [
      'hub: { url: memory }',
      `hubForMembers: { url: 'redis://hub:6379', username: 'u-{cluster}' }`,
    ]);
    await ok('authority', 'init', '-f', file);
    await refused(2, /already/, 'authority', 'init', '-f', file);
    authority = await runningAuthority(file);
    const status = await json<AuthorityStatus>('status', '--config', file, '--wait');
    assert.equal(status.openTokens, 0);
    assert.ok((status.rootExpiresInMs ?? 0) > 3600 * 86_400_000);
    assert.equal(status.hub?.connected, true);
  });

  test('issues, lists and revokes tokens', async () => {
    const wide = await say('token', 'issue', 'east', '--config', file, '--out', 'east.token');
    assert.match(wide.stderr, /may export services of every namespace/);
    assert.match(wide.stderr, /^ {2}ACL SETUSER u-east reset on >PASSWORD ~isthmus:\{east\}:\* %R~isthmus:\* /m);
    const narrow = ['--exportable', 'shop/*', '--label', 'region=eu', '--may-publish-policy', '--max-services', '9'];
    const { stderr } = await say('token', 'issue', 'west', ...narrow, '--config', file, '--out', 'west.token');
    assert.doesNotMatch(stderr, /Warning/);
    await ok('token', 'issue', 'south', '--config', file, '--out', 'south.token');
    const tokens = await json<TokenRow[]>('token', 'list', '--config', file);
    assert.deepEqual(tokens.map(({ cluster, state }) => `${cluster} ${state}`).sort(), [
      'east open',
      'south open',
      'west open',
    ]);
    const south = tokens.find(({ cluster }) => cluster === 'south')?.id ?? '';
    await ok('token', 'revoke', south, '--why', 'test', '--config', file);
    await refused(1, /is revoked/, 'token', 'revoke', south, '--why', 'again', '--config', file);
    await refused(1, /no token ffff/, 'token', 'revoke', 'ffff', '--why', 'x', '--config', file);
    await refused(1, /was revoked already/, 'join', '--state-dir', 'south', '--token-file', 'south.token');
    await refused(2, /must be such as 'shop\/\*'/, 'token', 'issue', 'a', '--exportable', 'Shop', '--config', file);
    assert.equal((await json<AuthorityStatus>('status', '--config', file)).openTokens, 2);
  });

  test('admits what joins, as its token says, and tells it the hub', async () => {
    for (const cluster of ['east', 'west'])
      await ok('join', '--state-dir', cluster, '--token-file', `${cluster}.token`);
    const rows = await json<ClusterRow[]>('clusters', '--config', file);
    assert.deepEqual(
      rows.map(({ cluster, exportable, labels, mayPublishPolicy }) => ({
        cluster,
        exportable,
        labels,
        mayPublishPolicy,
      })),
      [
        { cluster: 'east', exportable: ['*/*'], labels: {}, mayPublishPolicy: undefined },
        { cluster: 'west', exportable: ['shop/*'], labels: { region: 'eu' }, mayPublishPolicy: true },
      ],
    );
    const membership = JSON.parse(await readFile(join(dir, 'west', 'membership.json'), 'utf8')) as { hub: object };
    assert.deepEqual(membership.hub, { url: 'redis://hub:6379', prefix: 'isthmus', username: 'u-west' });
    const inventory = await json<IntermediateRow[]>('trust', 'inventory', '--config', file);
    assert.deepEqual(inventory.map(({ cluster, replica, state }) => `${cluster}/${replica} ${state}`).sort(), [
      'east/agent-0 live',
      'west/agent-0 live',
    ]);
  });

  test('labels, admits, suspends, resumes and revokes members', async () => {
    const change = (...args: string[]): Promise<ClusterRow[]> => json('clusters', ...args, '--config', file);
    const [labelled] = await change('label', 'west', 'tier=gold', 'region=');
    assert.deepEqual(labelled?.labels, { tier: 'gold' });
    const [admitted] = await change('admit', 'west', '--no-may-publish-policy', '--exportable', 'a/b', '--why', 'test');
    assert.deepEqual([admitted?.exportable, admitted?.mayPublishPolicy], [['a/b'], undefined]);
    assert.equal((await change('suspend', 'west', '--why', 'test'))[0]?.state, 'suspended');
    assert.equal((await change('resume', 'west', '--why', 'test'))[0]?.state, 'active');
    assert.equal((await change('revoke', 'west', '--why', 'test'))[0]?.state, 'revoked');
    await refused(1, /never undone/, 'clusters', 'resume', 'west', '--why', 'oops', '--config', file);
    await refused(1, /no cluster north/, 'clusters', 'suspend', 'north', '--why', 'oops', '--config', file);
    await refused(2, /nothing to change/, 'clusters', 'admit', 'east', '--why', 'x', '--config', file);
    await refused(1, /is revoked/, 'token', 'issue', 'west', '--config', file);
  });

  test('a lost identity joins again with a token that allows it, and only so', async () => {
    await ok('token', 'issue', 'east', '--config', file, '--out', 'plain.token');
    await rm(join(dir, 'east'), { recursive: true });
    await refused(2, /has joined already/, 'join', '--state-dir', 'east', '--token-file', 'plain.token');
    await ok('token', 'issue', 'east', '--rejoin', '--config', file, '--out', 'rejoin.token');
    await ok('join', '--state-dir', 'east', '--token-file', 'rejoin.token');
    await ok('token', 'issue', 'east', '--rejoin', '--config', file, '--out', 'second.token');
    await refused(2, /already/, 'join', '--state-dir', 'east', '--token-file', 'second.token');
    await ok('join', '--rejoin', '--state-dir', 'east', '--token-file', 'second.token');
    const inventory = await json<IntermediateRow[]>('trust', 'inventory', '--config', file);
    assert.deepEqual(
      inventory
        .filter(({ cluster }) => cluster === 'east')
        .map(({ state }) => state)
        .sort(),
      ['live', 'retired', 'retired'],
    );
  });

  test('writes down every decision, and notices when somebody changes the journal', async () => {
    const { ok: whole } = await json<{ ok: boolean }>('authority', 'audit', 'verify', '--config', file);
    assert.equal(whole, true);
    const records = await json<{ what: string }[]>('authority', 'audit', '--config', file);
    const kinds = new Set(records.map(({ what }) => what));
    for (const what of [
      'init',
      'issue-token',
      'revoke-token',
      'join',
      'issue-intermediate',
      'publish-roster',
      'admit',
      'set-state',
      'deny',
    ]) {
      assert.ok(kinds.has(what), `${what} is in the journal`);
    }
    await ok('trust', 'audit', 'verify', '--config', file);
  });

  test('is backed up while it runs; what is restored goes on later, with no open token', async () => {
    await refused(
      2,
      /already|shorter|Cannot read/,
      'authority',
      'backup',
      '--out',
      'b0',
      '--passphrase-file',
      'none',
      '--config',
      file,
    );
    await ok('authority', 'backup', '--out', 'main.backup', '--config', file);
    assert.equal((await stat(join(dir, 'main.backup'))).mode & 0o777, 0o600);
    await refused(1, /exists already/, 'authority', 'backup', '--out', 'main.backup', '--config', file);
    const before = await json<AuthorityStatus>('status', '--config', file);
    const restored = await authorityConfig('restored');
    const pass = join(dir, 'main', 'passphrase');
    await writeFile(join(dir, 'wrong'), 'not this one\n', { mode: 0o600 });
    const restore = (file: string, ...more: string[]): string[] => [
      'authority',
      'restore',
      file,
      '--state-dir',
      'restored',
      ...more,
    ];
    await refused(1, /wrong passphrase/, ...restore('main.backup', '--passphrase-file', 'wrong'));
    await ok(...restore('main.backup', '--passphrase-file', pass));
    await refused(1, /already/, ...restore('main.backup', '--passphrase-file', pass));
    await writeFile(join(dir, 'restored', 'passphrase'), await readFile(pass), { mode: 0o600 });
    const second = await runningAuthority(restored);
    const status = await json<AuthorityStatus>('status', '--config', restored, '--wait');
    assert.ok(status.rosterSequence >= before.rosterSequence + 1000, `${status.rosterSequence}`);
    assert.deepEqual([status.openTokens, status.clusters.active, status.clusters.revoked], [0, 1, 1]);
    await ok('authority', 'audit', 'verify', '--config', restored);
    assert.equal(await second.stop(), 0);
    await ok('authority', 'backup', '--state-dir', 'restored', '--out', 'stopped.backup');
  });

  test('a verb that cannot reach it exits 4', async () => {
    await refused(4, /Cannot reach/, 'authority', 'pending', '--server', join(dir, 'nowhere.sock'));
  });
});
