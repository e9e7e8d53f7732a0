import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { createCsr, generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';
import { parseCsr } from '../../src/trust/x509/csr.ts';
import { decodeDer, maxDerBytes } from '../../src/trust/x509/der.ts';
import { encodePemChain } from '../../src/trust/x509/pem.ts';
import { readCertificate } from '../../src/trust/x509/read.ts';
import { temporaryDir } from './support/environment.ts';
import { leaf, newFederation } from './support/federation.ts';

const run = promisify(execFile);

/** What OpenSSL says of a chain: empty output of an error, or its message. */
async function opensslVerify(
  t: TestContext,
  root: Uint8Array,
  { chain, purpose }: { readonly chain: readonly Uint8Array[]; readonly purpose?: string },
): Promise<string> {
  const dir = await temporaryDir(t);
  const write = async (name: string, certificates: readonly Uint8Array[]): Promise<string> => {
    const path = join(dir, name);
    await writeFile(path, encodePemChain(certificates));
    return path;
  };
  const [first = root, ...rest] = chain;
  const args = ['verify', '-x509_strict', '-CAfile', await write('root.pem', [root])];
  if (rest.length > 0) args.push('-untrusted', await write('rest.pem', rest));
  if (purpose !== undefined) args.push('-purpose', purpose);
  args.push(await write('leaf.pem', [first]));
  try {
    await run('openssl', args);
    return '';
  } catch (thrown) {
    return String((thrown as { stderr?: string }).stderr);
  }
}

for (const nameConstraints of [true, false]) {
  test(`openssl verify -x509_strict accepts every profile (name constraints: ${nameConstraints})`, async (t) => {
    const { root, ofA } = newFederation(nameConstraints);
    const gateway = leaf(ofA, { id: 'spiffe://a.mesh.example/isthmus/gateway/g' });
    const seal = leaf(ofA, { id: 'spiffe://a.mesh.example/isthmus/seal/one', profile: 'seal' });
    const authority = leaf(root, { id: 'spiffe://authority.mesh.example/isthmus/authority', profile: 'authority' });
    const rosterSeal = leaf(root, { id: 'spiffe://authority.mesh.example/isthmus/seal/authority', profile: 'seal' });
    assert.equal(await opensslVerify(t, root.certificate, { chain: [root.certificate] }), '');
    assert.equal(await opensslVerify(t, root.certificate, { chain: [ofA.certificate] }), '');
    for (const { chain } of [seal, rosterSeal]) assert.equal(await opensslVerify(t, root.certificate, { chain }), '');
    for (const { chain } of [gateway, authority]) {
      for (const purpose of ['sslserver', 'sslclient']) {
        assert.equal(await opensslVerify(t, root.certificate, { chain, purpose }), '');
      }
    }
  });
}

test("openssl refuses a leaf of b that a's constrained intermediate signed", async (t) => {
  const { root, ofA } = newFederation(true);
  const { chain } = leaf(ofA, { id: 'spiffe://b.mesh.example/isthmus/gateway/g' });
  assert.match(
    await opensslVerify(t, root.certificate, { chain, purpose: 'sslclient' }),
    /permitted subtree violation/,
  );
});

test('profiles are what trust.md says', () => {
  const { root, ofA } = newFederation();
  const rootCertificate = readCertificate(root.certificate);
  assert.deepEqual(rootCertificate.basicConstraints, { ca: true, pathLen: 2 });
  assert.equal(rootCertificate.nameConstraints, undefined);
  assert.equal(rootCertificate.extKeyUsage, undefined);
  const intermediate = readCertificate(ofA.certificate);
  assert.deepEqual(intermediate.basicConstraints, { ca: true, pathLen: 0 });
  assert.equal(intermediate.authorityKeyId, rootCertificate.subjectKeyId);
  assert.equal(intermediate.subjectKeyId, ofA.signer.keyId);
  assert.deepEqual(
    intermediate.nameConstraints?.permitted.map(({ tag, value }) => [tag, value.toString()]),
    [[6, 'a.mesh.example']],
  );
  assert.deepEqual(
    intermediate.names.map(({ value }) => value.toString()),
    ['spiffe://a.mesh.example'],
  );
  for (const issuer of [rootCertificate, intermediate]) {
    assert.ok(issuer.keyUsage?.critical && issuer.keyUsage.has('keyCertSign') && issuer.keyUsage.has('cRLSign'));
    assert.ok(!issuer.keyUsage.has('digitalSignature'));
  }
  const gateway = readCertificate(
    leaf(ofA, { id: 'spiffe://a.mesh.example/isthmus/gateway/g' }).chain[0] ?? new Uint8Array(),
  );
  assert.equal(gateway.hasSubject, false);
  assert.equal(gateway.namesAreCritical, true);
  assert.deepEqual(gateway.basicConstraints, { ca: false, pathLen: undefined });
  assert.equal(gateway.extKeyUsage?.length, 2);
  assert.equal(Buffer.from(gateway.serial, 'hex').length, 16);
});

test('a certificate never outlives its issuer', () => {
  const { root, ofA } = newFederation();
  const { notAfter } = readCertificate(ofA.certificate);
  const late = leaf(ofA, { id: 'spiffe://a.mesh.example/x', at: notAfter - 3_600_000, lifeMs: 86_400_000 });
  assert.equal(late.notAfter, notAfter);
  assert.throws(() => leaf(ofA, { id: 'spiffe://a.mesh.example/x', at: notAfter + 120_000 }), { code: 'invalid' });
  assert.ok(notAfter <= readCertificate(root.certificate).notAfter);
});

test('parseCsr accepts its own and those of openssl, and uses the key only', async (t) => {
  const signer = signerOf(generateKeyPem());
  assert.deepEqual(Buffer.from(parseCsr(createCsr(signer)).spki), Buffer.from(signer.spki));
  const dir = await temporaryDir(t);
  const out = join(dir, 'csr.der');
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', join(dir, 'key.pem')];
  const names = ['-subj', '/CN=evil', '-addext', 'subjectAltName=URI:spiffe://b.mesh.example/isthmus/agent/x'];
  await run('openssl', ['req', '-new', ...key, ...names, '-outform', 'DER', '-out', out]);
  const { readFile } = await import('node:fs/promises');
  assert.equal(parseCsr(await readFile(out)).keyType, 'p256');
});

test('parseCsr refuses every single changed bit, and never throws anything but invalid', () => {
  const csr = Buffer.from(createCsr(signerOf(generateKeyPem())));
  for (let bit = 0; bit < csr.length * 8; bit += 1) {
    const changed = Buffer.from(csr);
    changed.writeUInt8((changed[bit >> 3] ?? 0) ^ (1 << (bit & 7)), bit >> 3);
    assert.throws(() => parseCsr(changed), { code: 'invalid' }, `bit ${bit}`);
  }
  for (let length = 0; length < csr.length; length += 1) {
    assert.throws(() => parseCsr(csr.subarray(0, length)), { code: 'invalid' }, `length ${length}`);
  }
  assert.throws(() => parseCsr(Buffer.concat([csr, Buffer.of(0)])), { code: 'invalid' });
  assert.throws(() => parseCsr(Buffer.alloc(maxDerBytes + 1, 0x30)), /over the limit/);
});

test('decodeDer refuses BER: long lengths, padded integers, odd booleans, pieced strings', () => {
  const cases = {
    'long length': '30810302010 1',
    'padded integer': '300402020001',
    'boolean 1': '3003010101',
    pieces: '3006240404020102',
    indefinite: '3080020101 0000',
  };
  for (const [name, hex] of Object.entries(cases)) {
    assert.throws(() => decodeDer(name, Buffer.from(hex.replaceAll(' ', ''), 'hex')), { code: 'corrupt' }, name);
  }
  decodeDer('good', Buffer.from('3003020101', 'hex'));
});
