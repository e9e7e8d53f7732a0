import assert from 'node:assert/strict';
import { type Client, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { after, afterEach, before, describe, it, type TestContext } from 'node:test';
import { defaultConnection } from '../../../src/model/traffic.ts';
import { freePort } from '../../support/ports.ts';
import { serviceRoute, until } from '../support/mesh.ts';
import { type EchoServer, echoClient, paths, same, startEcho } from './support/grpc-peer.ts';
import { ask } from './support/h2-ask.ts';
import { type H2FrontOptions, startH2Front } from './support/h2-front.ts';
import { type Pair, startPair, workload } from './support/pair.ts';

/** A hang fails soon, and says where. */
const each = { timeout: 60_000 } as const;

interface Told {
  readonly code: number;
  readonly details: string;
}

interface Sent {
  readonly path?: string;
  readonly message?: Buffer;
  readonly metadata?: Readonly<Record<string, string>>;
}

function unary(
  client: Client,
  { path = paths.unary, message = Buffer.from('x'), metadata = {} }: Sent = {},
): Promise<Told> {
  const given = new Metadata();
  for (const [name, value] of Object.entries(metadata)) given.set(name, value);
  return new Promise((resolve) => {
    const options = { deadline: Date.now() + 30_000 };
    client.makeUnaryRequest(path, same, same, message, given, options, (error: ServiceError | null) =>
      resolve({ code: error?.code ?? status.OK, details: error?.details ?? '' }),
    );
  });
}

/** The head of a call, to be spoilt. */
const head = {
  ':method': 'POST',
  ':path': paths.unary,
  'content-type': 'application/grpc',
  te: 'trailers',
};

/** What a caller is told, and what the log says of it. */
interface Case {
  readonly code: status;
  readonly flag: string;
  readonly details: RegExp;
  readonly front?: Partial<H2FrontOptions>;
  /** By grpc-js; absent: `raw`. */
  readonly sent?: Sent;
  /** What no client of gRPC would send. */
  readonly raw?: Readonly<Record<string, string>>;
}

const noRetries = { attempts: 0, on: [], budget: 0.2 } as const;

const cases: Readonly<Record<string, Case>> = {
  'INVALID_ARGUMENT: a host that is not the authority': {
    code: status.INVALID_ARGUMENT,
    flag: 'DPE',
    details: /^host is not :authority$/,
    raw: { ...head, ':authority': 'web', host: 'other' },
  },
  'INVALID_ARGUMENT: a path that is none': {
    code: status.INVALID_ARGUMENT,
    flag: 'DPE',
    details: /^:path is not in origin form$/,
    raw: { ...head, ':path': '/test.Echo/Unary#1' },
  },
  'INVALID_ARGUMENT: a deadline that nobody can read': {
    code: status.INVALID_ARGUMENT,
    flag: 'DPE',
    details: /^'grpc-timeout' must be 1 to 8 digits and one of H, M, S, m, u and n$/,
    raw: { ...head, 'grpc-timeout': '1 minute' },
  },
  'UNIMPLEMENTED: CONNECT': {
    code: status.UNIMPLEMENTED,
    flag: 'DPE',
    details: /^CONNECT is not served here$/,
    raw: { ':method': 'CONNECT', ':authority': 'web:80', 'content-type': 'application/grpc' },
  },
  'UNIMPLEMENTED: a method that the server does not have (its own word)': {
    code: status.UNIMPLEMENTED,
    flag: '-',
    details: /^The server does not implement the method/,
    sent: { path: '/test.Echo/Nothing' },
  },
  'RESOURCE_EXHAUSTED: a path that is too long': {
    code: status.RESOURCE_EXHAUSTED,
    flag: 'DPE',
    details: /^The request target is too long$/,
    raw: { ...head, ':path': `/${'p'.repeat(10_000)}` },
  },
  'RESOURCE_EXHAUSTED: metadata that is too large': {
    code: status.RESOURCE_EXHAUSTED,
    flag: 'DPE',
    details: /^The head of a request may have 4096 bytes$/,
    front: { limits: { httpHeadBytes: 4096 } },
    sent: { metadata: { large: 'v'.repeat(5000) } },
  },
  'RESOURCE_EXHAUSTED: a message that is too large': {
    code: status.RESOURCE_EXHAUSTED,
    flag: 'DPE',
    details: /^The body is larger than this gateway carries$/,
    front: { limits: { httpBodyBytes: 10_000 } },
    sent: { message: Buffer.alloc(20_000) },
  },
  'PERMISSION_DENIED: access rules refuse it': {
    code: status.PERMISSION_DENIED,
    flag: 'RBAC',
    details: /^Access is denied$/,
    front: { judge: () => ({ decision: 'denied', rule: 'a rule' }) },
    sent: {},
  },
  'UNAVAILABLE: no instance': {
    code: status.UNAVAILABLE,
    flag: 'UH',
    details: /^No instance of the service is available$/,
    front: { endpoints: [] },
    sent: {},
  },
  'DEADLINE_EXCEEDED: the time-out of the policy': {
    code: status.DEADLINE_EXCEEDED,
    flag: 'UT',
    details: /^The service did not answer in time$/,
    front: { http: { timeoutMs: 200, retries: noRetries } },
    sent: { message: Buffer.alloc(0) },
  },
  'DEADLINE_EXCEEDED: the time-out of a try': {
    code: status.DEADLINE_EXCEEDED,
    flag: 'UT',
    details: /^The service did not answer in time$/,
    front: { http: { retries: { ...noRetries, perTryMs: 200 } } },
    sent: { message: Buffer.alloc(0) },
  },
};

describe('a gRPC call that the gateway answers itself', () => {
  let server: EchoServer;
  let asked = 0;

  before(async () => {
    server = await startEcho({
      unary(call, callback) {
        asked += 1;
        if (call.request.length > 0) callback(null, call.request);
      },
    });
  });
  after(() => server.kill());

  async function told(t: TestContext, { front: options, sent, raw }: Case): Promise<Told & { flag: string }> {
    const front = await startH2Front({ endpoints: [server.port], appProtocol: 'grpc', ...options });
    t.after(() => front.close());
    let answer: Told;
    if (raw) {
      const { status: http, headers } = await ask(front.port, raw);
      assert.deepEqual([http, headers['content-type']], [200, 'application/grpc']);
      answer = { code: Number(headers['grpc-status']), details: decodeURIComponent(String(headers['grpc-message'])) };
    } else {
      const client = echoClient(front.port);
      t.after(() => client.close());
      answer = await unary(client, sent);
    }
    await until('the log', () => front.entries.length === 1);
    const [entry] = front.entries;
    assert.equal(entry?.grpc_response_status, answer.code, 'the log says the same');
    assert.equal(entry?.response_code, 200);
    assert.equal(front.active(), 0);
    return { ...answer, flag: entry?.response_flags ?? '' };
  }

  for (const [name, one] of Object.entries(cases)) {
    it(name, each, async (t) => {
      const { code, details, flag } = await told(t, one);
      assert.equal(code, one.code);
      assert.equal(flag, one.flag);
      assert.match(details, one.details);
      assert.doesNotMatch(details, /127\.0\.0\.1|nghttp2|ERR_/, 'nothing of what lies behind');
    });
  }

  it('UNAVAILABLE: nobody listens at the only instance', each, async (t) => {
    const port = await freePort();
    const { code, flag, details } = await told(t, {
      front: { endpoints: [port] },
      sent: {},
      code: status.UNAVAILABLE,
      flag: 'UF',
      details: /./,
    });
    assert.deepEqual([code, flag, details], [status.UNAVAILABLE, 'UF', 'The service cannot be reached']);
  });

  it('none of those that were refused has reached the server', () => {
    // The two that it let wait, and no other but what it says itself.
    assert.equal(asked, 2);
  });
});

describe('gRPC calls to another cluster, judged one by one by the gateway that receives them', () => {
  const taken: string[] = [];
  let server: EchoServer;
  let pair: Pair;

  before(async () => {
    server = await startEcho({
      unary(call, callback) {
        taken.push('unary');
        callback(null, call.request);
      },
      down(call) {
        taken.push('down');
        call.end();
      },
    });
    pair = await startPair({ serve: [], protocol: 'grpc' });
    const { endpoints, targets } = serviceRoute({ self: 'east', local: [server.port] });
    pair.setEast((route) => ({ ...route, endpoints, targets }));
  });
  after(async () => {
    await pair.close();
    server.kill();
  });
  afterEach(() => {
    taken.length = 0;
    pair.setAccess();
    pair.speakAs(undefined);
  });

  async function calls<T>(use: (client: Client) => Promise<T>): Promise<T> {
    const client = echoClient(pair.port);
    try {
      return await use(client);
    } finally {
      client.close();
    }
  }

  const rules: Readonly<Record<string, { readonly prefix: string; readonly unary: boolean; readonly down: boolean }>> =
    {
      'one method': { prefix: paths.unary, unary: true, down: false },
      'a whole service': { prefix: '/test.Echo', unary: true, down: true },
      'another service whose name begins alike': { prefix: '/test.Ech', unary: false, down: false },
      'the package alone': { prefix: '/test', unary: false, down: false },
    };
  for (const [name, { prefix, unary: mayUnary, down: mayDown }] of Object.entries(rules)) {
    it(`allowed: ${name}`, each, async () => {
      pair.setAccess({ requests: { methods: ['POST'], pathPrefixes: [prefix] } });
      await calls(async (client) => {
        const codes = [(await unary(client)).code, (await unary(client, { path: paths.down })).code];
        const code = (may: boolean): number => (may ? status.OK : status.PERMISSION_DENIED);
        // Down ends without a message, which a caller of Unary takes for an error of its own.
        assert.deepEqual([codes[0], codes[1] === status.PERMISSION_DENIED], [code(mayUnary), !mayDown]);
      });
      assert.deepEqual([taken.includes('unary'), taken.includes('down')], [mayUnary, mayDown], 'as the server saw it');
    });
  }

  it('a rule for GET lets no call through', each, async () => {
    pair.setAccess({ requests: { methods: ['GET'], pathPrefixes: ['/test.Echo'] } });
    assert.equal((await calls((client) => unary(client))).code, status.PERMISSION_DENIED);
    assert.deepEqual(taken, []);
  });

  it('a rule that denies one method; the log of the receiving gateway has rule, flag and status', each, async () => {
    pair.setAccess({}, { action: 'deny', requests: { pathPrefixes: [paths.unary] } });
    pair.east.access.length = 0;
    const { code, details } = await calls((client) => unary(client));
    assert.deepEqual([code, details], [status.PERMISSION_DENIED, 'Access is denied']);
    await until('the log', () => pair.east.access.some(({ response_flags: flags }) => flags === 'RBAC'));
    const entry = pair.east.access.find(({ response_flags: flags }) => flags === 'RBAC');
    assert.equal(entry?.grpc_response_status, status.PERMISSION_DENIED);
    assert.equal(entry?.path, paths.unary);
    assert.equal(entry?.access_rule, 'AccessPolicy shop/web of east');
  });

  it('one caller may, another may not, over the same gateways', each, async () => {
    pair.setAccess({ from: [{ ids: [workload('cart')] }] });
    for (const [account, code] of [
      ['cart', status.OK],
      ['till', status.PERMISSION_DENIED],
      ['cart', status.OK],
    ] as const) {
      pair.speakAs(account);
      assert.equal((await calls((client) => unary(client))).code, code, account);
    }
  });

  it('more calls at a time than the service takes: UNAVAILABLE and UO, and the rest is served', each, async () => {
    const waiting: (() => void)[] = [];
    const slow = await startEcho({ unary: (call, callback) => void waiting.push(() => callback(null, call.request)) });
    const { endpoints, targets } = serviceRoute({ self: 'west', local: [slow.port] });
    pair.setWest((route) => ({
      ...route,
      endpoints,
      targets,
      connection: { ...defaultConnection, maxConnections: 3 },
    }));
    pair.west.access.length = 0;
    try {
      await calls(async (client) => {
        const three = [1, 2, 3].map(() => unary(client));
        await until('three to be there', () => waiting.length === 3);
        const { code, details } = await unary(client);
        assert.deepEqual([code, details], [status.UNAVAILABLE, 'Too many requests are in progress']);
        for (const answer of waiting.splice(0)) answer();
        for (const one of await Promise.all(three)) assert.equal(one.code, status.OK);
      });
      await until('the log', () => pair.west.access.length === 4);
      assert.equal(pair.west.access.filter(({ response_flags: flags }) => flags === 'UO').length, 1);
    } finally {
      slow.kill();
    }
  });
});
