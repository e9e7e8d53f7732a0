import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { AccessLogEntry } from '../../../src/gateway/access-log.ts';
import type { ServiceRoute } from '../../../src/model/route.ts';
import { type Exchange, exchange, open, readToEnd } from '../support/client.ts';
import { tableOf } from '../support/mesh.ts';
import { startPair } from './support/pair.ts';
import { ok, recorder } from './support/recorder.ts';
import { type Stage, type StageOptions, startStage } from './support/stage.ts';

const timeout = 60_000;
const send = (method: string, fields = '', body = '', target = '/'): string =>
  `${method} ${target} HTTP/1.1\r\nHost: shop\r\n${fields}\r\n${body}`;
const noRetries = { attempts: 0, on: ['connect' as const], budget: 0.2 };

/** What a client of the gateway sees and what the log says of it. */
interface Case {
  readonly title: string;
  readonly status: string;
  readonly flag: string;
  /** In `response_code_details`. */
  readonly word: string;
  /** All that the client is told. */
  readonly body: string;
  readonly ask?: string;
  readonly serve?: (fresh: string, socket: Socket) => string | undefined;
  readonly route?: Partial<ServiceRoute>;
  readonly stage?: Partial<StageOptions>;
  /** Instead of sending `ask`. */
  readonly run?: (stage: Stage) => Promise<Exchange>;
}

const reset = (_: string, socket: Socket): undefined => void socket.resetAndDestroy();
const silent = (): undefined => undefined;

const cases: readonly Case[] = [
  {
    title: 'two hosts',
    status: '400 Bad Request',
    flag: 'DPE',
    word: 'malformed',
    body: 'There must be one host',
    ask: send('GET', 'Host: other\r\n'),
  },
  {
    title: 'bytes that are no HTTP',
    status: '400 Bad Request',
    flag: 'DPE',
    word: 'malformed',
    body: 'This is no HTTP request',
    ask: '\x16\x03\x01',
  },
  {
    title: 'half a head, and no more',
    status: '408 Request Timeout',
    flag: 'DPE',
    word: 'head_timeout',
    body: 'The request did not arrive in time',
    async run(stage) {
      const socket = await open(stage.port);
      socket.write('GET / HTTP/1.1\r\nHo');
      return readToEnd(socket);
    },
  },
  {
    title: 'a length beyond the bound, refused before a byte of it is read',
    status: '413 Content Too Large',
    flag: 'DPE',
    word: 'body_too_large',
    body: 'The body is larger than this gateway carries',
    ask: send('POST', 'Content-Length: 1001\r\n'),
  },
  {
    title: 'chunks beyond the bound',
    status: '413 Content Too Large',
    flag: 'DPE',
    word: 'body_too_large',
    body: 'The body is larger than this gateway carries',
    ask: send('POST', 'Transfer-Encoding: chunked\r\n', `5dc\r\n${'x'.repeat(1500)}\r\n0\r\n\r\n`),
    serve: silent,
  },
  {
    title: 'a long target',
    status: '414 URI Too Long',
    flag: 'DPE',
    word: 'target_too_long',
    body: 'The request target is too long',
    ask: send('GET', '', '', `/${'a'.repeat(300)}`),
  },
  {
    title: 'an expectation that nobody knows',
    status: '417 Expectation Failed',
    flag: 'DPE',
    word: 'expectation_unknown',
    body: "The only expectation that can be met is '100-continue'",
    ask: send('POST', 'Expect: wonders\r\nContent-Length: 0\r\n'),
  },
  {
    title: 'a large head',
    status: '431 Request Header Fields Too Large',
    flag: 'DPE',
    word: 'head_too_large',
    body: 'The head of the request is too large',
    ask: send('GET', `X: ${'y'.repeat(3000)}\r\n`),
  },
  {
    title: 'many fields',
    status: '431 Request Header Fields Too Large',
    flag: 'DPE',
    word: 'head_too_large',
    body: 'There are too many header fields',
    ask: send('GET', 'X: y\r\n'.repeat(60)),
  },
  {
    title: 'CONNECT',
    status: '501 Not Implemented',
    flag: 'DPE',
    word: 'not_implemented',
    body: 'There is no CONNECT here',
    ask: 'CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n',
  },
  {
    title: 'a coding besides chunked',
    status: '501 Not Implemented',
    flag: 'DPE',
    word: 'not_implemented',
    body: "The only transfer coding that is known here is 'chunked'",
    ask: send('POST', 'Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'),
  },
  {
    title: 'a server that breaks off',
    status: '502 Bad Gateway',
    flag: 'UC',
    word: 'upstream_reset',
    body: 'The service closed the connection',
    serve: reset,
  },
  {
    title: 'the same, tried again in vain',
    status: '502 Bad Gateway',
    flag: 'URX',
    word: 'upstream_reset',
    body: 'The service closed the connection',
    serve: reset,
    route: { http: { retries: { attempts: 1, on: ['reset'], budget: 1 } } },
  },
  {
    title: 'a server that speaks something else',
    status: '502 Bad Gateway',
    flag: 'UPE',
    word: 'upstream_protocol_error',
    body: 'The service did not answer in HTTP',
    serve: () => '220 mail ESMTP secret-host\r\n\r\n',
  },
  {
    title: 'a service that has left the table',
    status: '503 Service Unavailable',
    flag: 'NR',
    word: 'no_route',
    body: 'The service is not known here',
    async run(stage) {
      const socket = await open(stage.port);
      const reading = readToEnd(socket);
      socket.write(send('GET'));
      await stage.logged(1);
      stage.node.table.set(tableOf(stage.node, [], []));
      socket.write(send('GET', 'Connection: close\r\n'));
      const { received, end } = await reading;
      return { received: received.subarray(ok.length), end };
    },
  },
  {
    title: 'a server that cannot be reached',
    status: '503 Service Unavailable',
    flag: 'UF',
    word: 'upstream_connect_failed',
    body: 'The service cannot be reached',
    async run(stage) {
      await stage.backends[0]?.kill();
      return exchange(stage.port, send('GET'));
    },
  },
  {
    title: 'a service without an endpoint',
    status: '503 Service Unavailable',
    flag: 'UH',
    word: 'no_healthy_upstream',
    body: 'No instance of the service is available',
    route: { endpoints: [] },
  },
  {
    title: 'a service at its bound',
    status: '503 Service Unavailable',
    flag: 'UO',
    word: 'limit-maxConnections',
    body: 'Too many requests are in progress',
    route: { connection: { maxConnections: 0, maxPending: 0 } },
  },
  {
    title: 'a server that says nothing',
    status: '504 Gateway Timeout',
    flag: 'UT',
    word: 'response_timeout',
    body: 'The service did not answer in time',
    serve: silent,
    route: { http: { timeoutMs: 100, retries: noRetries } },
  },
  {
    title: 'a request at rest for too long',
    status: '504 Gateway Timeout',
    flag: 'SI',
    word: 'stream_idle_timeout',
    body: 'The service did not answer in time',
    serve: silent,
    route: { http: { timeoutMs: 0, idleTimeoutMs: 50, retries: noRetries } },
  },
  {
    title: 'HTTP/1.2',
    status: '505 HTTP Version Not Supported',
    flag: 'DPE',
    word: 'version_unknown',
    body: 'The HTTP version must be 1.0 or 1.1',
    ask: 'GET / HTTP/1.2\r\nHost: shop\r\n\r\n',
  },
  {
    title: 'HTTP/1.1 where only HTTP/2 is spoken',
    status: '505 HTTP Version Not Supported',
    flag: 'DPE',
    word: 'http2_only',
    body: 'This service speaks HTTP/2',
    stage: { protocol: 'http2' },
  },
];

/** The answer is this status and this sentence, framed; nothing else is in it. */
function assertAnswer({ received }: Exchange, { status, body }: Pick<Case, 'status' | 'body'>): void {
  const form = new RegExp(
    `^HTTP/1\\.1 ${status}\\r\\ncontent-type: text/plain; charset=utf-8\\r\\ncontent-length: ${body.length + 1}\\r\\n` +
      'date: [^\\r\\n]+ GMT\\r\\n(?:connection: close\\r\\n)?\\r\\n([^\\n]*)\\n$',
  );
  const match = form.exec(received.toString());
  assert.ok(match, received.toString());
  assert.equal(match[1], body);
}

function assertEntry(entry: AccessLogEntry | undefined, { status, flag, word }: Case): void {
  const details = entry?.response_code_details?.split(':', 1)[0];
  assert.deepEqual([entry?.response_code, entry?.response_flags, details], [Number.parseInt(status, 10), flag, word]);
}

describe('what a gateway answers by itself', { timeout }, () => {
  for (const one of cases) {
    it(`${one.status.slice(0, 3)} ${one.flag} ${one.word}: ${one.title}`, { timeout }, async () => {
      const backend = recorder(one.serve ?? (() => ok));
      const limits = { httpHeadTimeoutMs: 300, httpBodyBytes: 1000, httpTargetBytes: 200, httpHeadBytes: 2048 };
      const stage = await startStage({
        serve: [backend.serve],
        limits: { ...limits, httpFields: 50 },
        route: { http: { retries: noRetries }, ...one.route },
        ...one.stage,
      });
      try {
        assertAnswer(await (one.run?.(stage) ?? exchange(stage.port, one.ask ?? send('GET'))), one);
        const entries = await stage.logged(1);
        assertEntry(entries.at(-1), one);
      } finally {
        await stage.close();
      }
    });
  }

  describe('403', () => {
    let pair: Awaited<ReturnType<typeof startPair>>;
    before(async () => {
      pair = await startPair({ serve: [recorder().serve] });
    });
    after(() => pair.close());

    it('403 RBAC rbac_access_denied: what the access rules refuse; which ones is for the log alone', async () => {
      const policy = 'AccessPolicy shop/secret-name of east';
      pair.setAccess({ action: 'deny', policy, requests: { methods: ['DELETE'] } });
      assertAnswer(await exchange(pair.port, send('DELETE')), { status: '403 Forbidden', body: 'Access is denied' });
      const [entry] = await pair.logged(1);
      assert.deepEqual(
        [entry?.response_flags, entry?.response_code_details, entry?.access_rule],
        ['RBAC', 'rbac_access_denied', policy],
      );
    });
  });

  it('is without its body for HEAD, and the connection goes on', { timeout }, async () => {
    const stage = await startStage({ serve: [], route: { endpoints: [] } });
    try {
      const { received } = await exchange(stage.port, send('HEAD') + send('HEAD') + send('GET'));
      const heads = received.toString().split(/(?=HTTP\/1\.1 503 )/);
      assert.equal(heads.length, 3);
      assert.ok(heads.slice(0, 2).every((one) => one.endsWith('\r\n\r\n') && one.includes('content-length: 40\r\n')));
      assert.ok(heads[2]?.endsWith('\r\n\r\nNo instance of the service is available\n'));
    } finally {
      await stage.close();
    }
  });

  it('is all in docs/reference/http.md, and nothing else is', () => {
    const page = readFileSync(new URL('../../../docs/reference/http.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| (\d{3}) \| `(\w+)` \| `([\w-]+)(?:…)?` \|/gm)].map(
      ([, status = '', flag = '', word = '']) => `${status} ${flag} ${word}`,
    );
    const tried = cases
      .filter(({ flag }) => flag !== 'URX')
      .map(({ status, flag, word }) => `${status.slice(0, 3)} ${flag} ${word.replace(/^limit-.*/, 'limit-')}`);
    assert.deepEqual(new Set(rows), new Set([...tried, '403 RBAC rbac_access_denied']));
  });
});
