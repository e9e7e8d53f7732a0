import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { clusterTrustDomain, parseTrustDomain, roleId } from '../../src/model/identity.ts';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import { initAuthority, openAuthority } from '../../src/trust/io/authority.ts';
import { AuthorityIssuance, authorityLimits } from '../../src/trust/io/authority-issuance.ts';
import { AuthorityLedger } from '../../src/trust/io/authority-ledger.ts';
import { Refusals } from '../../src/trust/io/authority-refusals.ts';
import { AuthorityTokens } from '../../src/trust/io/authority-tokens.ts';
import { type Issuer, issueRoot } from '../../src/trust/io/issuer.ts';
import { createCsr, generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';
import { decodeJoinToken } from '../../src/wire/join-token.ts';
import { Endings } from './support/endings.ts';
import { ShiftedClock, silent } from './support/environment.ts';
import { federationDomain } from './support/federation.ts';

/** What hostile or damaged input comes to: a refusal that names rule and value, in the journal, and no state changed. */

const east = parseClusterName('east');
const from = '10.0.0.7:4711';
const newCsr = (): Uint8Array => createCsr(signerOf(generateKeyPem()));

async function newCore(ends: Endings, limits = authorityLimits) {
  const clock = new ShiftedClock();
  const root: Issuer = issueRoot(federationDomain, signerOf(generateKeyPem()), clock.now());
  const anchor = root.certificate;
  const path = join(await ends.directory(), 'authority.db');
  const ledger = await AuthorityLedger.open({ path, federationDomain, anchor, clock, log: silent });
  ends.add(() => ledger.close());
  const refusals = new Refusals({ ledger, clock, log: silent });
  const parts = { ledger, refusals, root, anchor, federationDomain, clock, nameConstraints: true, limits };
  const tokens = new AuthorityTokens({ ledger, federationDomain, rootSha256: '0'.repeat(64), clock });
  return { clock, ledger, tokens, core: new AuthorityIssuance(parts), root };
}

async function secretFor(tokens: AuthorityTokens): Promise<Uint8Array> {
  const { token } = await tokens.issue({ cluster: east, addresses: ['127.0.0.1:1'], who: 'test' });
  return decodeJoinToken(token).secret;
}

test('a request that is no canonical proof of possession is refused, written down, and costs no token', async (t) => {
  const { core, tokens, ledger } = await newCore(new Endings(t));
  const secret = await secretFor(tokens);
  const join = (csr: Uint8Array): Promise<unknown> => core.join({ cluster: 'east', replica: 'one', secret, csr, from });
  const good = Buffer.from(newCsr());
  await assert.rejects(join(Buffer.alloc(0)), { code: 'invalid', message: /is not DER|malformed/ });
  await assert.rejects(join(Buffer.alloc(16_385)), {
    code: 'invalid',
    message: /16385 bytes are over the limit of 16384/,
  });
  await assert.rejects(join(Buffer.concat([good, Buffer.of(0)])), { code: 'invalid' });
  const forged = Buffer.from(good);
  forged.writeUInt8((forged.at(-1) ?? 0) ^ 1, forged.length - 1);
  await assert.rejects(join(forged), { code: 'invalid', message: /possession|malformed/ });
  assert.equal(ledger.roster.current.clusters.size, 0);
  const denials = (await ledger.journal(0, 100)).filter(({ what }) => what === 'deny');
  assert.equal(denials.length, 4);
  assert.ok(denials.every(({ who, subject, detail }) => who === from && subject === 'east' && detail.length > 20));
  const answer = await join(good);
  assert.ok('certificate' in (answer as object), 'the token is still good');
});

test('mutated requests never throw anything but refusals, and never get a certificate', async (t) => {
  const generous = { perSecond: 1e6, burst: 1e6 };
  const { core, tokens, ledger } = await newCore(new Endings(t), {
    global: generous,
    renewalReserve: 0,
    source: generous,
    identity: generous,
  });
  const secret = await secretFor(tokens);
  const good = Buffer.from(newCsr());
  const mutation = fc.record({ at: fc.nat(good.length - 1), value: fc.integer({ min: 0, max: 255 }), cut: fc.nat(3) });
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 4 }), async (mutations) => {
      let bytes = Buffer.from(good);
      for (const { at, value, cut } of mutations) {
        if (at < bytes.length) bytes.writeUInt8(value, at);
        if (cut === 0) bytes = bytes.subarray(0, Math.max(1, at));
      }
      if (bytes.equals(good)) return;
      await assert.rejects(core.join({ cluster: 'east', replica: 'one', secret, csr: bytes, from }), {
        code: 'invalid',
      });
    }),
    { numRuns: 300 },
  );
  assert.equal(ledger.roster.current.clusters.size, 0);
});

test('unknown tokens, a foreign name and a reused key are refused by name', async (t) => {
  const { core, tokens } = await newCore(new Endings(t));
  const secret = await secretFor(tokens);
  const join = (more: object): Promise<unknown> =>
    core.join({ cluster: 'east', replica: 'one', secret, csr: newCsr(), from, ...more });
  await assert.rejects(join({ secret: randomBytes(32) }), { code: 'unauthenticated', message: /unknown/ });
  await assert.rejects(join({ cluster: 'west' }), { code: 'denied', message: /for cluster east, not west/ });
  await assert.rejects(join({ cluster: 'East' }), { code: 'invalid', message: /'East'/ });
  await assert.rejects(join({ cluster: 'authority' }), { code: 'invalid', message: /authority's own/ });
  await assert.rejects(join({ replica: '../x' }), { code: 'invalid', message: /'\.\.\/x'/ });
  const csr = newCsr();
  await join({ csr });
  const second = await secretFor(tokens);
  await assert.rejects(join({ secret: second, csr, replica: 'two' }), { code: 'denied', message: /certified before/ });
});

test('a flood of refused calls neither fills the journal nor starves renewals', async (t) => {
  const limits = { ...authorityLimits, source: { perSecond: 50, burst: 400 } };
  const { core, tokens, ledger, root } = await newCore(new Endings(t), limits);
  const secret = await secretFor(tokens);
  await core.join({ cluster: 'east', replica: 'one', secret, csr: newCsr(), from });
  const { records: before } = await ledger.journalState();
  const codes = new Map<string, number>();
  let retryAfterMs: number | undefined;
  for (let call = 0; call < 1000; call += 1) {
    const flood = core.join({
      cluster: 'east',
      replica: 'x',
      secret: randomBytes(32),
      csr: newCsr(),
      from: '10.9.9.9:1',
    });
    await flood.catch((thrown: { code: string; retryAfterMs?: number }) => {
      codes.set(thrown.code, (codes.get(thrown.code) ?? 0) + 1);
      retryAfterMs ??= thrown.retryAfterMs;
    });
  }
  assert.ok((codes.get('exhausted') ?? 0) > 400, 'most are refused before they are looked at');
  assert.ok(retryAfterMs !== undefined && retryAfterMs > 0, 'and told when to come back');
  const { records: after } = await ledger.journalState();
  assert.ok(after - before <= 40, `${after - before} records for 1000 hostile calls`);
  const id = roleId(clusterTrustDomain(east, federationDomain), 'agent', parseReplicaName('one'));
  const renewed = await core.renew({ id, cluster: east, csr: newCsr(), from: '10.0.0.8:1' });
  assert.ok('certificate' in renewed, 'a renewal goes through');
  const gateway = roleId(clusterTrustDomain(east, federationDomain), 'gateway', parseReplicaName('g'));
  await assert.rejects(core.renew({ id: gateway, cluster: east, csr: newCsr(), from }), { code: 'denied' });
  const rootCsr = createCsr(root.signer);
  await assert.rejects(core.renew({ id, cluster: east, csr: rootCsr, from }), { message: /root's own/ });
  const denied = (await ledger.journal(before, 1000)).filter(
    ({ what, who }) => what === 'deny' && who.startsWith('spiffe'),
  );
  assert.equal(denied.length, 2, 'strangers do not use up the room for what members are refused');
});

/** What a journal says of the clock. */
async function clockEntries(ledger: AuthorityLedger): Promise<readonly string[]> {
  const records = await ledger.journal(0, 1000);
  assert.ok(
    records.every(({ at }, index) => at >= (records[index - 1]?.at ?? 0)),
    'times never go back by a jump',
  );
  return records.filter(({ subject }) => subject === 'clock').map(({ what, detail }) => `${what}: ${detail}`);
}

test('a clock that went back stops decisions, not service, until somebody says that it is right', async (t) => {
  const { tokens, ledger, clock } = await newCore(new Endings(t));
  await secretFor(tokens);
  const { sequence } = ledger.roster.current;
  const before = [...ledger.book.tokens()].length;
  clock.offsetMs -= 86_400_000;
  for (let attempt = 0; attempt < 3; attempt += 1) {
    await assert.rejects(secretFor(tokens), {
      code: 'unavailable',
      message: /the wall clock says .*, but the journal has/,
      hint: /accept-clock/,
    });
  }
  assert.match(ledger.problem ?? '', /wall clock/);
  assert.equal(ledger.roster.current.sequence, sequence, 'the roster is served as it was');
  assert.equal([...ledger.book.tokens()].length, before, 'nothing has changed');
  const told = await clockEntries(ledger);
  assert.equal(told.length, 1, 'written down once');
  assert.match(told[0] ?? '', /^deny: the wall clock says /);
  await ledger.acceptClock('test', 'it was a day ahead');
  await secretFor(tokens);
  assert.equal((await ledger.journalState()).problem, undefined);
  clock.offsetMs -= 60_000;
  await secretFor(tokens);
});

test('a clock that jumped ahead stops decisions as well; time that really passed does not', async (t) => {
  const { core, tokens, ledger, clock } = await newCore(new Endings(t));
  clock.pass(40 * 86_400_000);
  const secret = await secretFor(tokens);
  const year = 365 * 86_400_000;
  clock.offsetMs += 20 * year;
  const join = core.join({ cluster: 'east', replica: 'one', secret, csr: newCsr(), from });
  await assert.rejects(join, (thrown: { code: string }) => ['unauthenticated', 'unavailable'].includes(thrown.code));
  await assert.rejects(secretFor(tokens), { code: 'unavailable', message: /it jumped ahead/ });
  assert.equal(ledger.roster.current.clusters.size, 0);
  const told = await clockEntries(ledger);
  assert.match(told.join(), /^deny: the wall clock says 20.*it jumped ahead$/);
  clock.offsetMs -= 20 * year;
  await secretFor(tokens);
  const again = await core.join({ cluster: 'east', replica: 'one', secret, csr: newCsr(), from });
  assert.ok('certificate' in again, 'set right, it goes on, and the token was not used up');
  clock.offsetMs += 20 * year;
  await assert.rejects(secretFor(tokens), { code: 'unavailable' });
  await ledger.acceptClock('test', 'it is that late');
  const late = await secretFor(tokens);
  const expired = core.join({ cluster: 'east', replica: 'two', secret: late, csr: newCsr(), from });
  await assert.rejects(expired, /not within its issuer's life/);
});

test('a full disk: what was answered is kept, nothing else happened, and it says so', async (t) => {
  const ends = new Endings(t);
  const dir = await ends.directory();
  const clock = new ShiftedClock();
  await initAuthority({ stateDir: join(dir, 'authority'), federationDomain, clock, scryptCost: { N: 1 << 12 } });
  const script = fileURLToPath(new URL('support/full-disk-process.ts', import.meta.url));
  // Files of this process end at 400 KiB; the signal for that is ignored, so that writing fails as on a full disk.
  const limited = `trap '' XFSZ; ulimit -f 400; exec "$0" "$@"`;
  const child = spawn('bash', ['-c', limited, process.execPath, script, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await new Promise((resolve) => child.once('close', resolve));
  const told = JSON.parse(text) as {
    durable: number;
    code: string;
    message: string;
    problem: string;
    tokens: number;
    again: string;
  };
  assert.ok(told.durable > 10 && told.durable < 5000, text);
  assert.deepEqual([told.code, told.again], ['unavailable', 'unavailable'], text);
  assert.match(told.message, /Cannot write .*authority\.db/);
  assert.match(told.problem, /disk/);
  assert.equal(told.tokens, told.durable, 'memory is what the disk has');
  const listen = { host: '127.0.0.1', port: 0 };
  const authority = await openAuthority({ stateDir: join(dir, 'authority'), listen, clock, log: silent });
  ends.add(() => authority.close());
  assert.equal(authority.tokens().length, told.durable);
  assert.equal((await authority.journalState()).problem, undefined);
  await authority.issueToken({ cluster: east });
});

test('init refuses domains that name constraints cannot hold, loose permissions and short passphrases', async (t) => {
  const ends = new Endings(t);
  const dir = await ends.directory();
  const clock = new ShiftedClock();
  const attempt = (domain: string, more: object = {}): Promise<unknown> =>
    initAuthority({ stateDir: join(dir, 'x'), federationDomain: parseTrustDomain(domain), clock, ...more });
  for (const domain of ['mesh_1.example', '10.0.0.1', '.example', 'mesh..example', `${'a'.repeat(60)}.`.repeat(4)]) {
    await assert.rejects(attempt(domain), { code: 'invalid', message: /A federation domain must/ }, domain);
  }
  const passphraseFile = join(dir, 'passphrase');
  await writeFile(passphraseFile, 'short\n', { mode: 0o600 });
  await assert.rejects(attempt('mesh.example', { passphraseFile }), /shorter than 8 bytes/);
  await chmod(dir, 0o755);
  await assert.rejects(initAuthority({ stateDir: dir, federationDomain, clock }), {
    code: 'denied',
    message: /open to others \(mode 755\)/,
  });
});
