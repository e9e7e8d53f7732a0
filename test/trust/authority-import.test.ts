import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import { initAuthority, openAuthority } from '../../src/trust/io/authority.ts';
import { openClusterCa } from '../../src/trust/io/cluster-ca.ts';
import { joinCluster } from '../../src/trust/io/join.ts';
import { encodePemChain } from '../../src/trust/x509/pem.ts';
import { readCertificate } from '../../src/trust/x509/read.ts';
import { Endings } from './support/endings.ts';
import { eventually, ShiftedClock, silent } from './support/environment.ts';
import { federationDomain } from './support/federation.ts';

/** Roots that others made, with the openssl of this machine. */

const east = parseClusterName('east');
const replica = parseReplicaName('one');
const listen = { host: '127.0.0.1', port: 0 };
const cheap = { N: 1 << 12 };

const keys = {
  'P-256': ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
  'P-384': ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:secp384r1'],
  'RSA 3072': ['-newkey', 'rsa:3072'],
  'RSA 1024': ['-newkey', 'rsa:1024'],
} as const;

const ca = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign', 'subjectKeyIdentifier=hash'];

interface MadeCa {
  readonly certificateFile: string;
  readonly keyFile: string;
}

interface CaSpec {
  readonly key?: keyof typeof keys;
  readonly extensions?: readonly string[];
  readonly days?: number;
  readonly subject?: string;
}

function openssl(args: readonly string[]): string {
  return execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
}

async function selfSigned(dir: string, name: string, spec: CaSpec = {}): Promise<MadeCa> {
  const { key = 'P-256', extensions = ca, days = 3650, subject = '/O=Corp/CN=Corp Root' } = spec;
  const certificateFile = join(dir, `${name}.crt`);
  const keyFile = join(dir, `${name}.key`);
  const added = extensions.flatMap((each) => ['-addext', each]);
  const out = ['-keyout', keyFile, '-out', certificateFile, '-days', String(days), '-subj', subject];
  // Without a configuration, so that only what stands here is in the certificate.
  openssl(['req', '-config', '/dev/null', '-x509', '-nodes', ...keys[key], ...out, ...added]);
  await chmod(keyFile, 0o600);
  return { certificateFile, keyFile };
}

/** An intermediate below `parent`. */
async function intermediate(dir: string, parent: MadeCa, pathLen: number): Promise<MadeCa> {
  const made = await selfSigned(dir, `sub${pathLen}`, { subject: `/O=Corp/CN=Mesh CA ${pathLen}` });
  const csr = join(dir, 'sub.csr');
  const extensions = join(dir, 'sub.ext');
  await writeFile(
    extensions,
    `basicConstraints=critical,CA:TRUE,pathlen:${pathLen}\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n`,
  );
  openssl([
    'req',
    '-config',
    '/dev/null',
    '-new',
    '-key',
    made.keyFile,
    '-subj',
    `/O=Corp/CN=Mesh CA ${pathLen}`,
    '-out',
    csr,
  ]);
  const { certificateFile, keyFile } = parent;
  const signed = [
    '-CA',
    certificateFile,
    '-CAkey',
    keyFile,
    '-CAcreateserial',
    '-days',
    '1000',
    '-extfile',
    extensions,
  ];
  openssl(['x509', '-req', '-in', csr, '-out', made.certificateFile, ...signed]);
  return made;
}

async function federationUnder(ends: Endings, made: MadeCa, partial: boolean): Promise<readonly string[]> {
  const dir = await ends.directory();
  const clock = new ShiftedClock();
  const stateDir = join(dir, 'authority');
  const root = { kind: 'import', ...made } as const;
  const { warnings } = await initAuthority({ stateDir, federationDomain, clock, scryptCost: cheap, root });
  assert.ok(!(await readFile(join(stateDir, 'root.key.json'), 'utf8')).includes('PRIVATE'));
  const authority = await openAuthority({ stateDir, listen, clock, log: silent });
  ends.add(() => authority.close());
  const { token } = await authority.issueToken({ cluster: east });
  await joinCluster({ token, stateDir: join(dir, 'east'), replica, clock, log: silent });
  const agent = await openClusterCa({ stateDir: join(dir, 'east'), clock, log: silent });
  ends.add(() => agent.close());
  await eventually('mTLS both ways', () => agent.status().authority.connected);
  const svid = agent.agentSvid.current;
  assert.ok(svid && agent.peerVerifier.verify(svid.chain).ok);
  const [leaf, issuer] = svid.chain;
  assert.ok(leaf && issuer);
  await writeFile(join(dir, 'leaf.pem'), encodePemChain([leaf]));
  await writeFile(join(dir, 'issuer.pem'), encodePemChain([issuer]));
  const flags = partial ? ['-partial_chain'] : [];
  const files = ['-CAfile', made.certificateFile, '-untrusted', join(dir, 'issuer.pem'), join(dir, 'leaf.pem')];
  openssl(['verify', '-x509_strict', ...flags, ...files]);
  return warnings;
}

for (const key of ['P-256', 'P-384', 'RSA 3072'] as const) {
  test(`an imported ${key} root carries a federation, and openssl agrees`, async (t) => {
    const ends = new Endings(t);
    const made = await selfSigned(await ends.directory(), 'root', { key });
    assert.deepEqual(await federationUnder(ends, made, false), []);
  });
}

test('an imported intermediate is the anchor, and its corporate root no business of ours', async (t) => {
  const ends = new Endings(t);
  const dir = await ends.directory();
  const made = await intermediate(dir, await selfSigned(dir, 'corp'), 1);
  const warnings = await federationUnder(ends, made, true);
  assert.match(warnings.join(' '), /no room for a cross certificate.*It is no root/);
});

test('an anchor that cannot carry a federation is refused, naming the rule, and nothing is left behind', async (t) => {
  const ends = new Endings(t);
  const dir = await ends.directory();
  const clock = new ShiftedClock();
  const stateDir = join(dir, 'authority');
  const attempt = (made: MadeCa): Promise<unknown> =>
    initAuthority({ stateDir, federationDomain, clock, scryptCost: cheap, root: { kind: 'import', ...made } });
  const corp = await selfSigned(dir, 'corp');
  await assert.rejects(attempt(await intermediate(dir, corp, 0)), {
    code: 'invalid',
    message: /pathLen must be 1 or more/,
  });
  const leaf = await selfSigned(dir, 'leaf', { extensions: ['basicConstraints=critical,CA:FALSE'] });
  await assert.rejects(attempt(leaf), /must say that it is a CA/);
  const usage = await selfSigned(dir, 'usage', {
    extensions: ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,cRLSign'],
  });
  await assert.rejects(attempt(usage), /keyCertSign/);
  const bound = await selfSigned(dir, 'bound', {
    extensions: [...ca, 'nameConstraints=critical,permitted;DNS:corp.example'],
  });
  await assert.rejects(attempt(bound), /no name constraints/);
  const weak = await selfSigned(dir, 'weak', { key: 'RSA 1024' });
  await assert.rejects(attempt(weak), { code: 'invalid', message: /RSA 2048 to 4096.*it is rsa 1024/ });
  const other = await selfSigned(dir, 'other');
  await assert.rejects(attempt({ ...corp, keyFile: other.keyFile }), /is not that of/);
  const locked = join(dir, 'locked.key');
  openssl(['pkey', '-in', corp.keyFile, '-aes128', '-passout', 'pass:secret', '-out', locked]);
  await chmod(locked, 0o600);
  await assert.rejects(attempt({ ...corp, keyFile: locked }), /is encrypted/);
  await chmod(other.keyFile, 0o644);
  await assert.rejects(attempt(other), { code: 'denied', message: /readable by others/ });
  const { notAfter } = readCertificate(
    Buffer.from((await readFile(corp.certificateFile, 'utf8')).split('-----')[2] ?? '', 'base64'),
  );
  clock.offsetMs = notAfter - Date.now() + 1000;
  await assert.rejects(attempt(corp), /it is valid from .* and now is/);
  clock.offsetMs = 0;
  await attempt(corp);
});
