import type { Reply } from '../reply.ts';

/** RFC 9110 §15, as far as gateways say it. */
const phrases: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  408: 'Request Timeout',
  413: 'Content Too Large',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  426: 'Upgrade Required',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};

export interface ReplyTo {
  /** The connection goes on after it. */
  readonly keep: boolean;
  /** The client speaks HTTP/1.0. */
  readonly old: boolean;
  /** It answers a HEAD: everything but the body. */
  readonly head: boolean;
  /** Wall clock, ms. */
  readonly now: number;
}

/** The gateway's own answer as it is written: one sentence of text as its body. */
export function replyText({ status, reason }: Reply, { keep, old, head, now }: ReplyTo): string {
  const body = `${reason}\n`;
  const connection = keep ? (old ? 'connection: keep-alive\r\n' : '') : 'connection: close\r\n';
  return (
    `HTTP/1.1 ${status} ${phrases[status] ?? ''}\r\n` +
    `content-type: text/plain; charset=utf-8\r\ncontent-length: ${body.length}\r\n` +
    `date: ${new Date(now).toUTCString()}\r\n${connection}\r\n${head ? '' : body}`
  );
}
