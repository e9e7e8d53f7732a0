import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { formatHostPort, isLoopback, parseHostPort } from '../../src/model/address.ts';

suite('parseHostPort', () => {
  for (const text of ['127.0.0.1:1', 'db.local:65535', '[::1]:15012', '[fd00::7%eth0]:80', 'a_b:9']) {
    test(`reads ${text}, and formatHostPort gives it back`, () => {
      const address = parseHostPort(text);
      assert(address);
      assert.equal(formatHostPort(address), text);
    });
  }
  for (const text of [
    '',
    ':80',
    'h',
    'h:',
    'h:0',
    'h:65536',
    'h:+1',
    'h:1e2',
    '::1:80',
    '[h]:80',
    '[::1]',
    '-h:1',
    'h h:1',
    'http://h:1',
    'h:1\n',
  ]) {
    test(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseHostPort(text), undefined));
  }
  test('takes port 0 only where a free port may be chosen', () => {
    assert.deepEqual(parseHostPort('h:0', true), { host: 'h', port: 0 });
  });
});

test('isLoopback', () => {
  for (const host of ['127.0.0.1', '127.8.9.1', '::1', 'localhost']) assert(isLoopback(host), host);
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example', 'localhost.example'])
    assert(!isLoopback(host), host);
});
