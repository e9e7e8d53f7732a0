import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { agentRoutes } from '../../src/admin/agent-api.ts';
import { startAdmin } from '../../src/admin/io/server.ts';
import { get } from '../../src/admin/routes.ts';
import { adminPaths } from '../../src/model/status.ts';
import type {
  AuditRow,
  BundleDetail,
  ChainReport,
  IntermediateRow,
  JournalVerdict,
  LintReport,
} from '../../src/model/trust-report.ts';
import { auditBeginning, auditRecord, type AuditRecord } from '../../src/trust/audit.ts';
import { writeVectors } from '../../src/trust/io/vectors.ts';
import { fixedAgent, recordingLog } from '../admin/fixture.ts';
import type { Ended } from './ended.ts';
import { each, isthmusIn } from './isthmus.ts';

function journal(count: number): readonly AuditRecord[] {
  const records: AuditRecord[] = [];
  for (let number = 1; number <= count; number += 1) {
    const entry = { at: number, who: 'me', what: 'join', subject: `c${number}`, detail: '' } as const;
    records.push(auditRecord(entry, records.at(-1) ?? auditBeginning));
  }
  return records;
}

function linesOf(records: readonly AuditRow[]): string {
  return records.map((record) => `${JSON.stringify(record)}\n`).join('');
}

suite('trust verbs', () => {
  let folder = '';
  const { run } = isthmusIn(() => folder);
  const trust = (...args: readonly string[]): Promise<Ended> => run(['trust', ...args]);
  const file = (name: string, part: 'chain' | 'anchors' = 'chain'): string => join(folder, 'v', name, `${part}.pem`);
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'isthmus-trust-verbs-'));
    await writeVectors(join(folder, 'v'), Date.now());
  });
  after(() => rm(folder, { recursive: true }));

  test('verify says yes with 0 and no with 1, and names the rule', async () => {
    const cases = [
      ['constraint-own-trust-domain', 0, /is good\n$/],
      ['leaf-is-ca', 1, /Rule +XS-4: X509-SVID §4\.1\n.*is refused \(profile\): leaf must not be a CA/],
      ['time-leaf-expired', 1, /PV-3[^]*expired at/],
      ['constraint-another-trust-domain', 1, /PV-6/],
      ['encoding-long-length', 1, /PV-1[^]*not canonical DER/],
    ] as const;
    await each(cases, async ([name, expected, text]) => {
      const { status, stdout, stderr } = await trust('verify', file(name), '--bundle', file(name, 'anchors'));
      assert.deepEqual([status, stderr], [expected, ''], name);
      assert.match(stdout, text, name);
    });
  });

  test('verify binds the issuer unless told not to, to the bundle of the trust domain named, at the time named', async () => {
    const name = 'binding-issuer-of-another-trust-domain';
    const args = ['verify', file(name), '--bundle', file(name, 'anchors'), '-o', 'json'];
    const strict = await trust(...args);
    assert.equal((JSON.parse(strict.stdout) as ChainReport).rule, 'IS-1');
    const lax = await trust(...args, '--spiffe-only');
    assert.deepEqual([lax.status, (JSON.parse(lax.stdout) as ChainReport).ok], [0, true]);
    const foreign = await trust(...args, '--spiffe-only', '--trust-domain', 'b.vectors.example');
    assert.equal((JSON.parse(foreign.stdout) as ChainReport).rule, 'XV-1');
    const later = await trust(...args, '--spiffe-only', '--at', '2099-01-01T00:00:00Z');
    assert.equal((JSON.parse(later.stdout) as ChainReport).reason, 'expired');
  });

  test('a bundle of SPIFFE works as anchors, for verify and for show', async () => {
    const got = await trust('bundle', 'get', 'a.vectors.example', '--file', file('leaf-plain', 'anchors'));
    assert.equal(got.status, 0);
    const bundle = join(folder, 'bundle.json');
    await writeFile(bundle, got.stdout);
    const map = join(folder, 'map.json');
    await writeFile(map, `{"trust_domains":{"a.vectors.example":${got.stdout}}}`);
    for (const anchors of [bundle, map]) {
      assert.equal((await trust('verify', file('leaf-plain'), '--bundle', anchors)).status, 0, anchors);
    }
    const pem = await trust('bundle', 'get', 'a.vectors.example', '--file', map, '-o', 'pem');
    assert.equal(pem.stdout, await readFile(file('leaf-plain', 'anchors'), 'utf8'));
    const shown = await trust('bundle', 'show', 'a.vectors.example', '--file', bundle);
    assert.match(shown.stdout, /Trusted +yes/);
    assert.equal((await trust('bundle', 'show', 'b.example', '--file', map)).status, 2);
  });

  test('lint tells errors by 1', async () => {
    const good = await trust('lint', file('leaf-plain'), file('leaf-plain', 'anchors'), '-o', 'json');
    assert.deepEqual([good.status, (JSON.parse(good.stdout) as LintReport).certificates], [0, 3]);
    const bad = await trust('lint', file('constraint-with-path'));
    assert.equal(bad.status, 1);
    assert.match(bad.stdout, /error +constraint-not-a-host .*OpenSSL, Go, JDK/);
  });

  test('vectors are written once', async () => {
    const dir = join(folder, 'again');
    const { status, stdout } = await trust('vectors', dir);
    assert.equal(status, 0);
    assert.match(stdout, /^\d+ vectors in .*index\.json: \d+ to accept, \d+ to refuse\n$/);
    assert.equal((await trust('vectors', dir)).status, 1);
  });

  test('audit verify follows the hashes of files, from wherever they begin', async () => {
    const records = journal(6);
    const check = async (name: string, text: string): Promise<{ status: number | null; verdict: JournalVerdict }> => {
      const path = join(folder, name);
      await writeFile(path, text);
      const { status, stdout } = await trust('audit', 'verify', path, '-o', 'json');
      return { status, verdict: JSON.parse(stdout) as JournalVerdict };
    };
    const whole = await check('whole', linesOf(records));
    assert.deepEqual([whole.status, whole.verdict.head], [0, records.at(-1)?.hash]);
    const tail = await check('tail', linesOf(records.slice(3)));
    assert.deepEqual([tail.status, tail.verdict.from], [0, 4]);
    const changed = await check('changed', linesOf(records).replace('"c3"', '"cX"'));
    assert.deepEqual([changed.status, changed.verdict.problem], [1, 'record 3 was changed']);
    const gap = await check('gap', linesOf(records.filter(({ sequence }) => sequence !== 4)));
    assert.deepEqual([gap.status, gap.verdict.problem], [1, 'record 4 is missing']);
    await writeFile(join(folder, 'bad'), '{}\n');
    const { status, stderr } = await trust('audit', 'verify', join(folder, 'bad'));
    assert.equal(status, 2);
    assert.match(stderr, /bad:1: it is no record of a journal/);
  });

  test('what cannot be read, or makes no sense, is a matter of usage: 2', async () => {
    const anchors = file('leaf-plain', 'anchors');
    const lines = [
      ['verify', 'none.pem', '--bundle', anchors],
      ['verify', anchors],
      ['verify', file('leaf-plain'), '--bundle', join(folder, 'v', 'index.json')],
      ['verify', file('leaf-plain'), '--bundle', anchors, '--at', 'yesterday'],
      ['verify', file('leaf-plain'), '--bundle', anchors, '--trust-domain', 'UPPER'],
      ['lint', join(folder, 'v', 'index.json')],
      ['lint'],
      ['bundle', 'show', '--file', anchors],
      ['bundle', 'show', 'a.b', '--file', anchors, '--url', 'https://x/'],
      ['bundle', 'show', 'a.b', '--endpoint-id', 'spiffe://a.b/x'],
      ['bundle', 'show', 'a.b', '--url', 'http://x/'],
      ['bundle', 'show', 'a.b', '--url', 'https://x/', '--endpoint-id', 'spiffe://a.b/x'],
    ];
    await each(lines, async (line) => {
      const { status, stdout, stderr } = await trust(...line);
      assert.deepEqual([status, stdout], [2, ''], `${line.join(' ')}: ${stderr}`);
    });
    for (const verb of [
      ['verify'],
      ['lint'],
      ['bundle', 'show'],
      ['bundle', 'get'],
      ['vectors'],
      ['audit', 'verify'],
      ['inventory'],
    ]) {
      const { status, stdout } = await trust(...verb, '--help');
      assert.equal(status, 0);
      assert.match(stdout, /Examples:\n {2}isthmus trust /, verb.join(' '));
    }
  });

  test('bundles of an agent, journal and inventory of an authority, and none to ask: 4', async () => {
    const detail: BundleDetail = {
      trustDomain: 'a.example',
      sequence: '18446744073709551615',
      trusted: false,
      anchors: [],
      jwtKeyIds: [],
      ignored: [],
      document: '{"keys":[]}',
      pem: '',
    };
    const agent = await startAdmin({
      socketPath: join(folder, 'agent.sock'),
      routes: agentRoutes(
        fixedAgent({
          bundles: () => ({
            bundles: [detail],
            refused: { older: 2, conflicting: 0, unverified: 0 },
            problem: 'sequence 1 was offered',
          }),
          bundle: (domain) => (domain === 'a.example' ? detail : undefined),
        }),
      ),
      log: recordingLog(),
    });
    const records = journal(5);
    const row: IntermediateRow = {
      keyId: 'ab12',
      cluster: 'east',
      replica: 'agent-0',
      serial: '01',
      issuedAt: 0,
      notAfter: 1,
      state: 'live',
      sha256: 'cd',
    };
    const authority = await startAdmin({
      socketPath: join(folder, 'authority.sock'),
      routes: [
        get(adminPaths.status, () => ({})),
        get(adminPaths.inventory, () => [row]),
        get(adminPaths.audit, ({ query }) => {
          const from = Number(query['after'] ?? 0);
          const part = records.slice(from, from + 2);
          return { records: part, ...(from + 2 < records.length && { next: from + 2 }) };
        }),
      ],
      log: recordingLog(),
    });
    try {
      const ofAgent = ['--server', agent.socketPath];
      const shown = await trust('bundle', 'show', ...ofAgent);
      assert.match(shown.stdout, /a\.example +18446744073709551615 +False/);
      assert.match(shown.stdout, /Refused: 2 rolled back, .*sequence 1 was offered/);
      assert.equal((await trust('bundle', 'get', 'a.example', ...ofAgent)).stdout, '{"keys":[]}\n');
      assert.equal((await trust('bundle', 'show', 'b.example', ...ofAgent)).status, 1);
      const ofAuthority = ['--server', authority.socketPath];
      assert.match((await trust('inventory', ...ofAuthority)).stdout, /east +agent-0 +live +ab12/);
      const verdict = await trust('audit', 'verify', ...ofAuthority);
      assert.deepEqual([verdict.status, verdict.stderr], [0, '']);
      assert.match(verdict.stdout, /^The journal is whole: 5 records/);
    } finally {
      await agent.close();
      await authority.close();
    }
    for (const verb of [['bundle', 'show'], ['audit', 'verify'], ['inventory']]) {
      assert.equal((await trust(...verb, '--server', join(folder, 'none.sock'))).status, 4, verb.join(' '));
    }
  });
});
