/** Bytes that are nearly HTTP, made of what HTTP is made of. */

const names = [
  'Host',
  'Content-Length',
  'Transfer-Encoding',
  'Connection',
  'Expect',
  'Upgrade',
  'X-A',
  'Trailer',
  'TE',
  'Cookie',
  'content-length',
  'TRANSFER-ENCODING',
  'Transfer-Encoding ',
  'Content_Length',
  '',
  'X-Forwarded-For',
];
const values = [
  'a',
  '5',
  '0',
  '5, 5',
  '+5',
  '05',
  'chunked',
  'chunked, chunked',
  'gzip, chunked',
  'chunked ',
  '\tchunked',
  'identity',
  'close',
  'keep-alive',
  'upgrade',
  'websocket',
  'h2c',
  '100-continue',
  'shop',
  'shop:80',
  '[::1]:80',
  '',
  'a\r\n b',
  'a\0b',
  'ä',
];
const targets = ['/', '/a?b=c', '*', 'http://shop/x', 'http://shop', '/%2e%2e/a', 'a', '/a b', '//x', 'http://evil/'];
const methods = ['GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'CONNECT', 'get', 'G(T', 'PURGE'];
const noise = ['\r', '\n', '\r\n', ' ', '\t', '\0', ':', ';', '0', ',', '\x0b', '\x7f', '\x80', 'chunked', '5'];

type Random = () => number;

function pick<T>(random: Random, of: readonly [T, ...T[]] | readonly T[]): T {
  const item = of[Math.floor(random() * of.length)];
  if (item === undefined) throw new Error('Nothing to pick from');
  return item;
}

function body(random: Random, kind: 'length' | 'chunked' | 'none'): { field: string; bytes: string } {
  const size = Math.floor(random() * 12);
  if (kind === 'none') return { field: '', bytes: '' };
  if (kind === 'length') return { field: `Content-Length: ${size}\r\n`, bytes: 'x'.repeat(size) };
  let bytes = '';
  for (let chunk = 0; chunk < Math.floor(random() * 3); chunk += 1) {
    const length = 1 + Math.floor(random() * 20);
    const extension = random() < 0.2 ? pick(random, [';a', ';a=b', ';a="b c"', ';a="b\\"c";d', ' ;a', ';', ';a=']) : '';
    bytes += `${length.toString(16)}${extension}\r\n${'y'.repeat(length)}\r\n`;
  }
  const trailer = random() < 0.2 ? pick(random, ['X-T: 1\r\n', 'Content-Length: 3\r\n', 'X: a\n', 'Y: \r\n']) : '';
  return { field: 'Transfer-Encoding: chunked\r\n', bytes: `${bytes}0\r\n${trailer}\r\n` };
}

function fields(random: Random): string {
  let text = '';
  const count = Math.floor(random() * 4);
  for (let index = 0; index < count; index += 1) text += `${pick(random, names)}: ${pick(random, values)}\r\n`;
  return text;
}

/** One to three messages, some of them broken. */
export function nearlyHttp(random: Random, kind: 'request' | 'response'): Buffer {
  let text = '';
  const count = 1 + Math.floor(random() * 3);
  for (let index = 0; index < count; index += 1) {
    const { field, bytes } = body(random, pick(random, ['length', 'chunked', 'none'] as const));
    const line =
      kind === 'request'
        ? `${random() < 0.8 ? pick(random, ['GET', 'POST']) : pick(random, methods)} ${random() < 0.7 ? '/' : pick(random, targets)} HTTP/1.${random() < 0.9 ? 1 : 0}\r\n${random() < 0.9 ? 'Host: shop\r\n' : ''}`
        : `HTTP/1.${random() < 0.9 ? 1 : 0} ${pick(random, ['200', '204', '304', '404', '503', '100', '2000', '99', '200'])}${pick(random, [' OK', ' ', '', ' Not Found', '  '])}\r\n`;
    text += `${line}${random() < 0.5 ? fields(random) : ''}${field}\r\n${bytes}`;
  }
  const changes = random() < 0.5 ? 0 : 1 + Math.floor(random() * 3);
  for (let change = 0; change < changes; change += 1) {
    const at = Math.floor(random() * text.length);
    const cut = random() < 0.5 ? Math.floor(random() * 3) : 0;
    text = text.slice(0, at) + (random() < 0.7 ? pick(random, noise) : '') + text.slice(at + cut);
  }
  return Buffer.from(text, 'latin1');
}

/** The same bytes in pieces. */
export function inPieces(random: Random, bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = random() < 0.3 ? 1 : 1 + Math.floor(random() * bytes.length);
    pieces.push(Buffer.from(bytes.subarray(at, at + size)));
    at += size;
  }
  return pieces;
}
