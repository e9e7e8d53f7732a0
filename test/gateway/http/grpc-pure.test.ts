import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { encodeGrpcMessage, grpcStatusOf, isGrpc, parseGrpcStatus } from '../../../src/gateway/http/grpc/status.ts';
import { formatGrpcTimeout, parseGrpcTimeout } from '../../../src/gateway/http/grpc/timeout.ts';

describe('grpc-timeout (PROTOCOL-HTTP2.md, "Timeout")', () => {
  it('reads every unit', () => {
    const read: Readonly<Record<string, number>> = { '2H': 7_200_000, '3M': 180_000, '4S': 4000, '5m': 5, '6u': 0.006 };
    for (const [text, ms] of Object.entries(read)) assert.equal(parseGrpcTimeout(text), ms);
    assert.ok(Math.abs((parseGrpcTimeout('7n') ?? 0) - 7e-6) < 1e-12);
    assert.equal(parseGrpcTimeout('0S'), 0);
    assert.equal(parseGrpcTimeout('99999999H'), 99_999_999 * 3_600_000);
  });

  it('is undefined for anything else', () => {
    for (const text of ['', '1', 'S', '-1S', '1.5S', '123456789S', '1s', '1 S', '1S ', '+1S', '1S\n', undefined]) {
      assert.equal(parseGrpcTimeout(text), undefined, String(text));
    }
    assert.equal(parseGrpcTimeout(['1S', '2S']), undefined);
  });

  it('never grows on its way, and loses less than a hundred-millionth', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-6, max: 3.6e14, noNaN: true }), (ms) => {
        const text = formatGrpcTimeout(ms);
        assert.match(text, /^[0-9]{1,8}[HMSmun]$/);
        const back = parseGrpcTimeout(text) ?? -1;
        assert.ok(back <= ms * (1 + 1e-12) && back >= ms * (1 - 1e-5) - 1e-6, `${ms} → ${text} → ${back}`);
      }),
    );
  });

  it('formats what is out of range as the nearest there is', () => {
    assert.equal(formatGrpcTimeout(-5), '0n');
    assert.equal(formatGrpcTimeout(1e30), '99999999H');
  });
});

describe('grpcStatusOf (http-grpc-status-mapping.md, with a mind of its own about 400, 413, 431 and 504)', () => {
  it('maps what a gateway answers', () => {
    const expected: readonly (readonly [number, number])[] = [
      [400, 3],
      [401, 16],
      [403, 7],
      [404, 12],
      [413, 8],
      [429, 14],
      [431, 8],
      [501, 12],
      [500, 2],
      [502, 14],
      [503, 14],
      [504, 4],
    ];
    for (const [http, grpc] of expected) assert.equal(grpcStatusOf(http), grpc, String(http));
  });
});

describe('isGrpc', () => {
  it('knows gRPC by its content type, and not grpc-web', () => {
    for (const type of ['application/grpc', 'application/grpc+proto', 'application/grpc;charset=utf-8']) {
      assert.equal(isGrpc(type), true, type);
    }
    for (const type of [undefined, '', 'application/grpc-web', 'application/grpc-web+proto', 'application/json']) {
      assert.equal(isGrpc(type), false, type);
    }
  });
});

describe('parseGrpcStatus', () => {
  it('reads 0 to 16 and nothing else', () => {
    for (let status = 0; status <= 16; status += 1) assert.equal(parseGrpcStatus(String(status)), status);
    for (const text of ['17', '-1', '01', '', 'OK', '1 ', undefined]) assert.equal(parseGrpcStatus(text), undefined);
  });
});

describe('encodeGrpcMessage (PROTOCOL-HTTP2.md, "Status-Message")', () => {
  it('percent-encodes what a header field cannot carry, so that decoding gives it back', () => {
    assert.equal(encodeGrpcMessage('no endpoint: 100 % down'), 'no endpoint: 100 %25 down');
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const encoded = encodeGrpcMessage(text);
        assert.match(encoded, /^[\x20-\x7e]*$/);
        assert.equal(decodeURIComponent(encoded), text);
      }),
    );
  });
});
