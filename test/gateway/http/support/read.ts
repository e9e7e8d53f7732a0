import { bodyOf } from '../../../../src/gateway/http/h1/body.ts';
import { forwardedRequest } from '../../../../src/gateway/http/h1/forward-request.ts';
import { HeadBuffer } from '../../../../src/gateway/http/h1/head-buffer.ts';
import { RequestHead } from '../../../../src/gateway/http/h1/request-head.ts';
import { ResponseHead } from '../../../../src/gateway/http/h1/response-head.ts';
import type { Read } from './llhttp.ts';

export interface OwnRead extends Omit<Read, 'content'> {
  /** Bytes of content. */
  readonly length: number;
  /** A request as it would go on, body included. */
  readonly onward: Buffer;
}

export interface OwnVerdict {
  readonly messages: readonly OwnRead[];
  readonly fault: string | undefined;
}

const limits = { headBytes: 4096, fields: 40 };

/** What the gateway's own readers make of bytes that come in these pieces. */
export function readByUs(pieces: readonly Buffer[], kind: 'request' | 'response'): OwnVerdict {
  const messages: OwnRead[] = [];
  let buffer = new HeadBuffer(limits.headBytes, { skips: kind === 'request' });
  let rest: Buffer = Buffer.concat(pieces.slice(0, 1));
  let next = 1;
  const more = (): boolean => {
    const piece = pieces[next];
    next += 1;
    if (!piece) return false;
    rest = piece;
    return true;
  };
  for (;;) {
    const request = new RequestHead({ targetBytes: 1024, fields: limits.fields });
    const response = new ResponseHead(limits);
    const behind = buffer.push(rest, 0);
    if (behind === -2) return { messages, fault: 'too large' };
    if (behind === -1) {
      if (!more()) return { messages, fault: undefined };
      continue;
    }
    const { bytes, start, end } = buffer;
    const fault =
      kind === 'request'
        ? request.scan(bytes, start, end)?.reason
        : response.scan(bytes, { start, end, method: 'GET' });
    if (fault !== undefined) return { messages, fault };
    const head = kind === 'request' ? request : response;
    const fields = Array.from({ length: head.fields.count }, (_, index): [string, string] => [
      head.fields.name(index),
      head.fields.value(index),
    ]);
    const onward = [
      Buffer.from(
        kind === 'request'
          ? `${forwardedRequest(request, { host: 'a', clientAddress: '1.2.3.4', requestId: undefined, traced: false })}\r\n`
          : '',
        'latin1',
      ),
    ];
    const body = bodyOf(head.framing, limits);
    let at = behind;
    for (;;) {
      const to = body.take(rest, at);
      if (typeof to === 'string') return { messages, fault: to };
      onward.push(Buffer.from(rest.subarray(at, to)));
      at = to;
      if (body.done || !more()) break;
      at = 0;
    }
    messages.push({
      method: request.method,
      target: request.target,
      status: response.status,
      fields,
      length: body.content,
      onward: Buffer.concat(onward),
      complete: body.done,
    });
    // Nothing behind it is looked at.
    if (!body.done || !head.keepsAlive || request.upgrade !== undefined) return { messages, fault: undefined };
    rest = rest.subarray(at);
    buffer = new HeadBuffer(limits.headBytes, { skips: kind === 'request' });
  }
}
