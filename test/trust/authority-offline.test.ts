import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { AuthorityStatus, ClusterRow } from '../../src/model/status.ts';
import type { PendingRow, SignRequestReport } from '../../src/model/trust-report.ts';
import { authorityConfig, json, ok, refused, type Running, runningAuthority, start, say } from './support/cli.ts';

/** An authority whose root signs by file, as an operator types it. */

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

suite('an authority whose root is offline', () => {
  test('waits for the signature of its own identities, which comes by file', async () => {
    await ok('authority', 'init', '--state-dir', 'root', '--federation-domain', 'mesh.example');
    file = await authorityConfig('online');
    await ok('authority', 'init', '-f', file, '--offline-root', 'root/root.crt');
    authority = await runningAuthority(file);
    const status = await json<AuthorityStatus>('status', '--config', file);
    assert.match(status.waitingFor.join(), /signature for its own identities/);
    const pending = await json<PendingRow[]>('authority', 'pending', '--config', file);
    assert.deepEqual(
      pending.map(({ kind }) => kind),
      ['authority', 'seal'],
    );
    const request = await json<SignRequestReport>('authority', 'sign-request', '--out', 'r1.json', '--config', file);
    const signed = await ok('authority', 'sign', 'r1.json', '--state-dir', 'root', '--out', 's1.json');
    assert.ok(signed.includes(request.sha256) && signed.includes('spiffe://authority.mesh.example/isthmus/authority'));
    await ok('authority', 'import-response', 's1.json', '--config', file);
    await ok('status', '--config', file, '--wait');
  });

  test('a join is pending until the root has signed, survives its end, and then goes on', async () => {
    await ok('token', 'issue', 'east', '--config', file, '--out', 'offline.token');
    const args = ['join', '--state-dir', 'east-offline', '--token-file', 'offline.token'];
    const first = start(...args);
    const end = Date.now() + 10_000;
    while (!first.said().includes('The root is offline')) {
      assert.ok(Date.now() < end, first.said());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.notEqual(await first.stop(), 0);
    const [row] = await json<PendingRow[]>('authority', 'pending', '--config', file);
    assert.deepEqual([row?.subject, row?.kind], ['east/agent-0', 'join']);
    await refused(
      1,
      /was used already/,
      'join',
      '--state-dir',
      'thief',
      '--replica',
      'thief',
      '--token-file',
      'offline.token',
    );
    await ok('authority', 'sign-request', '--out', 'r2.json', '--config', file);
    await ok('authority', 'sign', 'r2.json', '--state-dir', 'root', '--out', 's2.json');
    await refused(2, /does not decode/, 'authority', 'import-response', 'r2.json', '--config', file);
    await ok('authority', 'import-response', 's2.json', '--config', file);
    assert.match(await ok(...args), /east has joined/);
    const [member] = await json<ClusterRow[]>('clusters', '--config', file);
    assert.equal(member?.cluster, 'east');
    await ok('authority', 'audit', 'verify', '--config', file);
    assert.match(
      (await say('authority', 'sign-request', '--out', 'r3.json', '--config', file)).stderr,
      /Nothing waits/,
    );
  });

  test('the root signs nothing that was tampered with, or is for another federation', async () => {
    const request = await readFile(join(dir, 'r2.json'), 'utf8');
    const attempt = async (text: string, message: RegExp): Promise<void> => {
      await writeFile(join(dir, 'forged.json'), text);
      await refused(2, message, 'authority', 'sign', 'forged.json', '--state-dir', 'root', '--out', 'forged.out');
      await assert.rejects(stat(join(dir, 'forged.out')), { code: 'ENOENT' });
    };
    await attempt(request.replace('mesh.example', 'mash.example'), /The request is for mash.example/);
    await attempt(
      request.replace('"cluster": "east"', '"cluster": "authority"'),
      /does not decode|must not be 'authority'/,
    );
    const { items } = JSON.parse(request) as { items: { csr: string }[] };
    const [csr = ''] = items.map((item) => item.csr);
    const bytes = Buffer.from(csr, 'base64');
    bytes.writeUInt8((bytes.at(-1) ?? 0) ^ 1, bytes.length - 1);
    await attempt(request.replace(csr, bytes.toString('base64')), /Request 1 of 1: .*(possession|malformed)/);
    await refused(2, /needs --state-dir/, 'authority', 'sign', 'r2.json', '--out', 'x');
  });
});
