import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { sourceOf } from '../../../src/gateway/http/hash-source.ts';
import { BodyCopy } from '../../../src/gateway/http/h2/body-copy.ts';
import { readRequestHead, readResponseHead, readTrailers } from '../../../src/gateway/http/h2/head.ts';
import { onwardFields } from '../../../src/gateway/http/h2/onward.ts';
import { Pulse } from '../../../src/gateway/http/h2/pulse.ts';
import { fromH1Fields } from '../../../src/gateway/http/h2/translate.ts';

const pseudo = [':method', 'GET', ':scheme', 'http', ':authority', 'a', ':path', '/'];

describe('readRequestHead', () => {
  it('never throws, and lets nothing through that ends a line or a head', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 12 }),
      fc.constantFrom(':path', ':method', 'host', 'te', 'cookie', 'content-length', 'a', '/', 'GET', 'a\r\nb', '\n'),
    );
    fc.assert(
      fc.property(fc.boolean(), fc.array(text, { maxLength: 12 }), (begins, more) => {
        const raw = begins ? [...pseudo, ...more] : more;
        const read = readRequestHead(raw);
        if (!read.ok) return assert.match(read.detail, /^[\x20-\x7e]+$/);
        const { method, authority, path, fields } = read.head;
        for (const part of [method, authority, path, ...fields]) assert.doesNotMatch(part, /[\r\n\0]/);
        assert.doesNotMatch(`${method}${authority}${path}`, / /);
        for (let index = 0; index < fields.length; index += 2) assert.doesNotMatch(fields[index] ?? '', /[\s:A-Z]|^$/);
        readResponseHead(raw);
        readTrailers(raw);
        fromH1Fields(more);
      }),
      { numRuns: 2000 },
    );
  });

  it('takes host for :authority where that is missing', () => {
    const read = readRequestHead([':method', 'GET', ':scheme', 'http', ':path', '/', 'host', 'a.b:80']);
    assert.ok(read.ok && read.head.authority === 'a.b:80');
  });
});

describe('onwardFields', () => {
  const on = (fields: string[], clientAddress: string | undefined): readonly string[] => {
    const read = readRequestHead([...pseudo, ...fields]);
    assert.ok(read.ok);
    return onwardFields(read.head, { clientAddress, requestId: () => 'made', traced: false }).fields;
  };

  it('adds the client to x-forwarded-for, keeps what is there, drops what only gateways say', () => {
    const fields = on(['x-forwarded-for', '1.1.1.1', 'x-forwarded-proto', 'https', 'x-isthmus-hop', '1'], '2.2.2.2');
    assert.equal(fields[fields.indexOf('x-forwarded-for') + 1], '1.1.1.1, 2.2.2.2');
    assert.equal(fields[fields.indexOf('x-forwarded-proto') + 1], 'https');
    assert.equal(fields[fields.indexOf('x-request-id') + 1], 'made');
    assert.ok(!fields.includes('x-isthmus-hop'));
  });

  it('says nothing of the client at the second gateway, and keeps a request id', () => {
    const fields = on(['x-request-id', 'given'], undefined);
    assert.ok(!fields.includes('x-forwarded-for') && !fields.includes('x-forwarded-host'));
    assert.equal(fields[fields.indexOf('x-request-id') + 1], 'given');
  });
});

describe('Pulse', () => {
  const rules = { doubtMs: 10_000, unansweredMs: 5000 };

  it('pings when a request waits in silence, and gives up when that is not answered', () => {
    const pulse = new Pulse(rules);
    pulse.sent(0);
    assert.equal(pulse.check(9999), undefined);
    assert.equal(pulse.check(10_000), 'ping');
    assert.equal(pulse.check(14_999), undefined);
    assert.equal(pulse.check(15_000), 'dead');
  });

  it('never pings what is idle, nor more than twice until it is heard', () => {
    const pulse = new Pulse(rules);
    assert.equal(pulse.check(1e9), undefined);
    let pings = 0;
    for (let now = 0; now < 600_000; now += 1000) {
      pulse.sent(now);
      if (pulse.check(now) === 'ping') {
        pings += 1;
        pulse.pong();
      }
    }
    assert.equal(pings, 2, 'a third would count as too_many_pings');
    pulse.heard();
    pulse.sent(700_000);
    assert.equal(pulse.check(710_000), 'ping');
  });
});

describe('BodyCopy', () => {
  it('keeps all, or says that it does not', () => {
    const copy = new BodyCopy(10);
    copy.add(Buffer.from('12345'));
    copy.add(Buffer.from('67890'));
    assert.equal(Buffer.concat([...copy.chunks]).toString(), '1234567890');
    copy.add(Buffer.from('x'));
    assert.equal(copy.whole, false);
    assert.equal(copy.chunks.length, 0);
  });
});

describe('sourceOf', () => {
  it('goes by header or cookie, else by the address', () => {
    const plan = (hash: { by: 'header' | 'cookie'; name: string }): Parameters<typeof sourceOf>[0] => {
      return { algorithm: 'consistentHash', slowStartMs: 0, hash };
    };
    const fields = { header: (name: string) => (name === 'x-user' ? 'u1' : undefined), cookies: () => ['a=1; sid=s2'] };
    assert.equal(sourceOf(plan({ by: 'header', name: 'x-user' }), '1.1.1.1', fields), 'u1');
    assert.equal(sourceOf(plan({ by: 'header', name: 'x-none' }), '1.1.1.1', fields), '1.1.1.1');
    assert.equal(sourceOf(plan({ by: 'cookie', name: 'sid' }), '1.1.1.1', fields), 's2');
    assert.equal(sourceOf(plan({ by: 'cookie', name: 'SID' }), '1.1.1.1', fields), '1.1.1.1');
  });
});
