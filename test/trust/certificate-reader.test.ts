import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { IsthmusError } from '../../src/model/error.ts';
import { makeVectors } from '../../src/trust/io/vectors.ts';
import { describeCertificate } from '../../src/trust/x509/describe.ts';
import { decodeDer, encodeDer } from '../../src/trust/x509/der.ts';
import { decodeLoosePem, encodePemChain } from '../../src/trust/x509/pem.ts';
import { type Certificate, readCertificate } from '../../src/trust/x509/read.ts';

const vectors = makeVectors(Date.now());
const good = vectors
  .filter(({ spec }) => spec.expected === 'accept')
  .flatMap(({ chain, anchors }) => [...chain, ...anchors]);

function readOrCorrupt(bytes: Uint8Array): Certificate | undefined {
  try {
    return readCertificate(bytes);
  } catch (thrown) {
    assert.ok(thrown instanceof IsthmusError && thrown.code === 'corrupt', String(thrown));
    return undefined;
  }
}

/** What is read must be exactly what stands there: all parts together are the whole. */
function checkWhole({ der, tbs, spki, subject, issuer }: Certificate): void {
  assert.deepEqual(Buffer.from(encodeDer(decodeDer('again', der))), Buffer.from(der));
  for (const part of [tbs, spki, subject, issuer]) assert.ok(Buffer.from(der).includes(Buffer.from(part)));
}

suite('certificate reader', () => {
  test('reads every certificate of every good vector, and encodes it to the same bytes', () => {
    for (const bytes of good) {
      const certificate = readCertificate(bytes);
      checkWhole(certificate);
      assert.match(describeCertificate(certificate).sha256, /^[0-9a-f]{64}$/);
    }
  });

  test('bytes changed, cut, put in or taken out are read or refused as corrupt, never anything else', () => {
    const edit = fc.record({
      place: fc.nat(2000),
      remove: fc.nat(4),
      insert: fc.uint8Array({ maxLength: 4 }),
    });
    const source = fc.nat(good.length - 1).map((index) => Buffer.from(good[index] ?? assert.fail()));
    fc.assert(
      fc.property(source, fc.array(edit, { minLength: 1, maxLength: 3 }), (bytes, edits) => {
        const mutated = edits.reduce((value, { place, remove, insert }) => {
          const at = place % value.length;
          return Buffer.concat([value.subarray(0, at), insert, value.subarray(at + remove)]);
        }, bytes);
        const certificate = readOrCorrupt(mutated);
        if (certificate) {
          checkWhole(certificate);
          readOrDescribe(certificate);
        }
      }),
      { numRuns: 3000 },
    );
  });

  test('any bytes at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void readOrCorrupt(bytes)),
      { numRuns: 2000 },
    );
  });
});

function readOrDescribe(certificate: Certificate): void {
  try {
    describeCertificate(certificate);
  } catch (thrown) {
    assert.ok(thrown instanceof IsthmusError && thrown.code === 'corrupt', String(thrown));
  }
}

test('decodeLoosePem: text around, other blocks and line ends are passed over; nothing and too much are refused', () => {
  const [first = new Uint8Array(), second = new Uint8Array()] = good;
  const pem = Buffer.from(encodePemChain([first, second])).toString('latin1');
  const messy = `subject=x\r\n${pem.replaceAll('\n', '\r\n')}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n`;
  assert.deepEqual(
    decodeLoosePem('f', Buffer.from(messy)).map((bytes) => Buffer.from(bytes)),
    [first, second].map((bytes) => Buffer.from(bytes)),
  );
  for (const bad of ['', 'text', '-----BEGIN CERTIFICATE-----', pem.repeat(200)]) {
    assert.throws(() => decodeLoosePem('f', Buffer.from(bad)), { code: 'invalid' });
  }
  assert.throws(() => decodeLoosePem('f', Buffer.alloc((4 << 20) + 1)), /more than/);
});
