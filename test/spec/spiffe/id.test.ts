import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { IsthmusError } from '../../../src/model/error.ts';
import { parseSpiffeId, parseTrustDomain, pathOf, trustDomainOf } from '../../../src/model/identity.ts';

/** SPIFFE-ID §2. Every byte appended: test/model/identity.test.ts (ID-8). */

function refusedAll(...texts: readonly string[]): void {
  for (const text of texts) assert.throws(() => parseSpiffeId(text), { code: 'invalid' }, text);
}

function acceptedAll(...texts: readonly string[]): void {
  for (const text of texts) assert.equal(parseSpiffeId(text), text);
}

suite('SPIFFE-ID', () => {
  test('ID-1: scheme spiffe, a trust domain, no query, no fragment', () => {
    acceptedAll('spiffe://td', 'spiffe://td/a');
    refusedAll('', 'td', 'http://td', 'spiffe:/td', 'spiffe://', 'spiffe:///a', 'spiffe://td?q', 'spiffe://td/a?q');
    refusedAll('spiffe://td#f', 'spiffe://td/a#f', 'spiffe://td/a?');
  });

  test('ID-2: no user information, no port', () => {
    refusedAll('spiffe://u@td/a', 'spiffe://u:p@td/a', 'spiffe://@td/a', 'spiffe://td:1/a', 'spiffe://td:/a');
  });

  test('ID-3: a trust domain is of a-z, 0-9, dot, dash and underscore, whether it looks like a host or not', () => {
    acceptedAll('spiffe://1.2.3.4/a', 'spiffe://a_b-c.d/a', 'spiffe://-/a', 'spiffe://./a');
    refusedAll('spiffe://[::1]/a', 'spiffe://t%64/a', 'spiffe://t d/a', 'spiffe://té/a', 'spiffe://t+d/a');
  });

  test('ID-4: path segments are not empty, not dots, not encoded, and do not end with a slash', () => {
    acceptedAll('spiffe://td/...', 'spiffe://td/.path', 'spiffe://td/A/b_C-1.2');
    refusedAll(
      'spiffe://td/',
      'spiffe://td//',
      'spiffe://td/a//b',
      'spiffe://td/a/',
      'spiffe://td/.',
      'spiffe://td/..',
    );
    refusedAll('spiffe://td/a/../b', 'spiffe://td/%61', 'spiffe://td/a b', 'spiffe://td/a:b', 'spiffe://td/é');
  });

  test('ID-5: 2048 bytes, of which 255 for the trust domain', () => {
    const ofLength = (length: number): string => `spiffe://td/${'a'.repeat(length - 'spiffe://td/'.length)}`;
    acceptedAll(ofLength(2048), `spiffe://${'t'.repeat(255)}/a`);
    refusedAll(ofLength(2049), `spiffe://${'t'.repeat(256)}/a`);
  });

  test('ID-6: upper case in scheme and trust domain is refused, as go-spiffe does', () => {
    refusedAll('Spiffe://td/a', 'SPIFFE://td/a', 'spiffe://Td/a');
    acceptedAll('spiffe://td/A');
  });

  test('ID-8: whatever parses is its own one spelling, and nothing makes the parser throw anything else', () => {
    const part = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.constantFrom('/', '.', '..', '%', '@', ':', ''),
    );
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(part, { maxLength: 6 }).map((parts) => `spiffe://${parts.join('')}`),
      fc.stringMatching(/^spiffe:\/\/[a-z0-9._-]{0,20}(\/[a-zA-Z0-9._-]{0,8}){0,4}$/),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          const id = parseSpiffeId(text);
          assert.equal(id, text);
          assert.equal(`spiffe://${trustDomainOf(id)}${pathOf(id)}`, text);
          parseTrustDomain(trustDomainOf(id));
          assert.match(text, /^spiffe:\/\/[a-z0-9._-]{1,255}(\/[a-zA-Z0-9._-]+)*$/);
        } catch (thrown) {
          assert.ok(thrown instanceof IsthmusError && thrown.code === 'invalid', String(thrown));
        }
      }),
      { numRuns: 2000 },
    );
  });
});
