import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { isBelow, readPath } from '../../src/policy/request-path.ts';

function reason(target: string): string {
  const read = readPath(target);
  return read.ok ? `accepted as ${read.path}` : read.reason;
}

suite('readPath', () => {
  const plain: readonly (readonly [string, string])[] = [
    ['/', '/'],
    ['/api', '/api'],
    ['/api/', '/api/'],
    ['/api/v1/items?path=/../admin', '/api/v1/items'],
    ['/api?', '/api'],
    ['/%61pi', '/api'],
    ['/api/a%20b', '/api/a b'],
    ['/caf%C3%A9', '/café'],
    ['/shop.Cart/AddItem', '/shop.Cart/AddItem'],
    ['/.well-known/x', '/.well-known/x'],
    ['/a/...', '/a/...'],
    ["/a/b:c@d!$&'()*+,=~-_", "/a/b:c@d!$&'()*+,=~-_"],
    ['*', '*'],
  ];
  for (const [target, path] of plain) {
    test(`reads ${target}`, () => assert.deepEqual(readPath(target), { ok: true, path }));
  }

  const hostile: readonly (readonly [string, RegExp])[] = [
    ['', /does not begin with/],
    ['api', /does not begin with/],
    ['http://east/api', /does not begin with/],
    ['?/admin', /does not begin with/],
    ['//admin', /empty segment/],
    ['/public//admin', /empty segment/],
    ['/admin//', /empty segment/],
    ['/public/../admin', /dot segment/],
    ['/public/..', /dot segment/],
    ['/./admin', /dot segment/],
    ['/public/%2e%2e/admin', /dot segment/],
    ['/public/.%2E/admin', /dot segment/],
    ['/public%2f..%2fadmin', /encoded delimiter/],
    ['/public/%2e%2e%2fadmin', /encoded delimiter/],
    ['/public/%5c..%5cadmin', /encoded delimiter/],
    ['/public\\..\\admin', /must be percent-encoded/],
    ['/public/%252e%252e/admin', /encoded delimiter/],
    ['/%25', /encoded delimiter/],
    ['/public/..;/admin', /path parameters/],
    ['/admin;jsessionid=1', /path parameters/],
    ['/admin%3bx', /path parameters/],
    ['/admin%3f', /encoded delimiter/],
    ['/admin%23', /encoded delimiter/],
    ['/admin#x', /must be percent-encoded/],
    ['/admin%00', /encoded delimiter/],
    ['/admin%0d%0aX: y', /must be percent-encoded/],
    ['/admin%0d%0a', /encoded delimiter/],
    ['/admin%C2%85', /encoded delimiter/],
    ['/admin\u0000', /must be percent-encoded/],
    ['/admin\t', /must be percent-encoded/],
    ['/ad min', /must be percent-encoded/],
    ['/admin%', /not percent-encoded UTF-8/],
    ['/admin%2', /not percent-encoded UTF-8/],
    ['/admin%zz', /not percent-encoded UTF-8/],
    ['/%c0%afadmin', /not percent-encoded UTF-8/],
    ['/%c0%ae%c0%ae/admin', /not percent-encoded UTF-8/],
    ['/%e0%80%af', /not percent-encoded UTF-8/],
    ['/%ed%a0%80', /not percent-encoded UTF-8/],
    ['/%u002e%u002e/admin', /not percent-encoded UTF-8/],
    ['/\u00e9', /must be percent-encoded/],
    ['/%ff', /not percent-encoded UTF-8/],
  ];
  for (const [target, expected] of hostile) {
    test(`does not judge ${JSON.stringify(target)}`, () => assert.match(reason(target), expected));
  }

  test('what is read is what other readers make of it: decoded and resolved in any order, it stays', () => {
    const piece = fc.constantFrom(
      '/',
      '.',
      '..',
      '%2e',
      '%2f',
      '%5c',
      '\\',
      ';',
      '%3b',
      'a',
      'admin',
      '%61',
      '%25',
      '?',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const target = `/${pieces.join('')}`;
        const read = readPath(target);
        if (!read.ok) return;
        // WHATWG URL resolves dot segments and backslashes before it decodes.
        const { pathname } = new URL(`http://x${target}`);
        assert.equal(decodeURIComponent(pathname), read.path);
        // A server that decodes first, resolves then, and decodes once more.
        const again = new URL(`http://x${decodeURIComponent(target.split('?', 1)[0] ?? '')}`).pathname;
        assert.equal(decodeURIComponent(again), read.path);
      }),
      { numRuns: 1000 },
    );
  });

  test('never throws, and reads back what it has read', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.webPath(), fc.string({ unit: 'binary' })), (text) => {
        const read = readPath(text);
        if (!read.ok || read.path === '*') return;
        const encoded = read.path.split('/').map(encodeURIComponent).join('/');
        assert.deepEqual(readPath(encoded), read);
      }),
    );
  });
});

suite('isBelow', () => {
  test('goes by whole segments', () => {
    const below = ['/api', '/api/', '/api/x', '/api/x/y'];
    const beside = ['/', '/ap', '/apis', '/api-v2', '/API', '/x/api', '*'];
    for (const path of below) assert.ok(isBelow(path, '/api'), path);
    for (const path of beside) assert.ok(!isBelow(path, '/api'), path);
    for (const path of [...below, '/']) assert.ok(isBelow(path, '/'), path);
    assert.ok(!isBelow('*', '/'));
    assert.ok(isBelow('/shop.Cart/AddItem', '/shop.Cart'));
    assert.ok(!isBelow('/shop.CartAdmin/AddItem', '/shop.Cart'));
  });
});
