import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { formatTraceparent, parseTraceContext } from '../../../src/gateway/http/trace/context.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';
const valid = `00-${traceId}-${spanId}-01`;

describe('parseTraceContext (W3C Trace Context, level 1)', () => {
  it('reads version 00', () => {
    assert.deepEqual(parseTraceContext(valid, undefined), { traceId, spanId, sampled: true, state: undefined });
    assert.equal(parseTraceContext(`00-${traceId}-${spanId}-00`, undefined)?.sampled, false);
  });

  it('§3.2.2.5: only the lowest bit of the flags says sampled', () => {
    assert.equal(parseTraceContext(`00-${traceId}-${spanId}-fe`, undefined)?.sampled, false);
    assert.equal(parseTraceContext(`00-${traceId}-${spanId}-ff`, undefined)?.sampled, true);
  });

  it('§3.2.4: reads what it knows of a later version', () => {
    assert.equal(parseTraceContext(`01-${traceId}-${spanId}-01-what-comes`, undefined)?.traceId, traceId);
    assert.equal(parseTraceContext(`cc-${traceId}-${spanId}-01`, undefined)?.traceId, traceId);
  });

  const invalid: Readonly<Record<string, string | string[] | undefined>> = {
    absent: undefined,
    empty: '',
    'version ff': `ff-${traceId}-${spanId}-01`,
    'more in version 00': `${valid}-more`,
    'later version, more without a dash': `01-${traceId}-${spanId}-01more`,
    'upper case': valid.toUpperCase(),
    'trace id of zeros': `00-${'0'.repeat(32)}-${spanId}-01`,
    'span id of zeros': `00-${traceId}-${'0'.repeat(16)}-01`,
    'short trace id': `00-${traceId.slice(1)}-${spanId}-01`,
    'short flags': `00-${traceId}-${spanId}-1`,
    'blank around it': ` ${valid}`,
    'a line behind it': `${valid}\n`,
    twice: [valid, valid],
    'joined from two': `${valid},${valid}`,
    'without end': `01-${traceId}-${spanId}-01-${'x'.repeat(1000)}`,
  };
  for (const [name, value] of Object.entries(invalid)) {
    it(`is undefined: ${name}`, () => assert.equal(parseTraceContext(value, 'a=1'), undefined));
  }

  it('never throws, and reads only what it writes again', () => {
    const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('0', 'f', '-', 'a', ',', '=', '@') }));
    fc.assert(
      fc.property(fc.oneof(text, fc.array(text, { maxLength: 3 })), fc.oneof(text, fc.array(text)), (parent, state) => {
        const context = parseTraceContext(parent, state);
        if (!context) return;
        const again = parseTraceContext(formatTraceparent(context), context.state);
        assert.deepEqual(again, context);
      }),
    );
  });
});

describe('tracestate (W3C Trace Context §3.3)', () => {
  const stateOf = (value: string | string[]): string | undefined => parseTraceContext(valid, value)?.state;

  it('is passed on, several fields as one list, blanks and empty members dropped', () => {
    assert.equal(stateOf('congo=t61rcWkgMzE, rojo=00f067aa0ba902b7,'), 'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7');
    assert.equal(stateOf(['a=1', 'b=2']), 'a=1,b=2');
    assert.equal(stateOf('fw529a3039@dt=FfAAAA'), 'fw529a3039@dt=FfAAAA');
    assert.equal(stateOf('1a@b=x y'), '1a@b=x y');
  });

  const bad: Readonly<Record<string, string>> = {
    'no value': 'a',
    'no key': '=1',
    'upper-case key': 'A=1',
    'key begins with a digit': '1=1',
    'value with an equals sign': 'a=1=2',
    'control character': 'a=\u0001',
    'line break': 'a=1\r\nx: y',
    'not ASCII': 'a=é',
    'one key twice': 'a=1,a=2',
    '33 members': Array.from({ length: 33 }, (_, index) => `k${index}=v`).join(','),
    'too long': `a=${'x'.repeat(3000)}`,
  };
  for (const [name, value] of Object.entries(bad)) {
    it(`is dropped as a whole, the parent kept: ${name}`, () => {
      assert.deepEqual(parseTraceContext(valid, value), { traceId, spanId, sampled: true, state: undefined });
    });
  }
});
