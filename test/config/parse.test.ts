import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseAgentConfig } from '../../src/config/agent.ts';
import { parseAuthorityConfig } from '../../src/config/authority.ts';
import { readDocument } from '../../src/config/document.ts';
import { parseGatewayConfig } from '../../src/config/gateway.ts';
import type { ConfigKind } from '../../src/config/kind.ts';
import { parseConfig } from '../../src/config/kind.ts';
import { formatProblem } from '../../src/config/problem.ts';
import { toFileForm } from '../../src/config/file-form.ts';
import { stringify } from 'yaml';

const resolve = (path: string): string => (path.startsWith('/') ? path : `/etc/isthmus/${path}`);

const agent = `
stateDir: state
cluster: east
hub: { url: redis://127.0.0.1:6379 }
advertise: ['10.0.0.1:15012']
`;
const gateway = `
stateDir: /s
advertise: [{ address: 10.0.0.1, port: 15008 }]
`;
const authority = `
stateDir: /s
federationDomain: mesh.example
advertise: ['10.0.0.1:8443']
`;

function problemsOf(kind: ConfigKind, text: string): readonly string[] {
  const result = parseConfig(kind, readDocument('f.yaml', text), resolve);
  return result.ok ? [] : result.problems.map((problem) => formatProblem('f.yaml', problem));
}

suite('parseAgentConfig', () => {
  test('applies every default', () => {
    const result = parseAgentConfig(readDocument('f.yaml', agent), resolve);
    assert(result.ok);
    const { source, ...config } = result.value;
    assert.deepEqual(config, {
      stateDir: '/etc/isthmus/state',
      cluster: 'east',
      replica: 'agent-0',
      authority: [],
      hub: { url: 'redis://127.0.0.1:6379', prefix: 'isthmus' },
      listen: { grpc: { host: '0.0.0.0', port: 15012 }, http: { host: '127.0.0.1', port: 7070 } },
      advertise: [{ host: '10.0.0.1', port: 15012 }],
      admin: '/etc/isthmus/state/admin.sock',
      services: [],
      healthCheck: { intervalMs: 1000, timeoutMs: 500, failures: 2, successes: 1 },
      policy: { failover: { healthyThreshold: 0.7, holdMs: 30_000, returnOverMs: 60_000 } },
      policies: [],
      svidLifeMs: 43_200_000,
      workloads: { serverNames: [], jwt: [], sockets: [] },
      importPorts: { from: 20_000, to: 29_999, fixed: new Map() },
      timings: { leaseMs: 5000, suspectMs: 15_000, deadMs: 45_000, recoverMs: 10_000, pollMs: 2000 },
      log: 'info',
    });
    assert.equal(source?.lines.get('cluster'), 3);
    assert.equal(source?.lines.get('hub.url'), 4);
  });

  test('reads services in their short and long forms', () => {
    const text = `${agent}
services:
  - service: shop/web
    ports: [80, { port: 443, name: tls }]
    endpoints:
      - { address: '::1', ports: { 80: 8080 } }
  - service: shop/db
    ports: [5432]
    export: false
    allow: policy
    endpoints: ['[fd00::1]:6000', { address: db.local }]
`;
    const result = parseAgentConfig(readDocument('f.yaml', text), resolve);
    assert(result.ok, JSON.stringify(result));
    assert.deepEqual(result.value.services, [
      {
        service: 'shop/web',
        ports: [
          { port: 80, protocol: 'TCP' },
          { port: 443, name: 'tls', protocol: 'TCP' },
        ],
        exported: true,
        allow: 'members',
        endpoints: [{ address: '::1', ports: { 80: 8080, 443: 443 } }],
      },
      {
        service: 'shop/db',
        ports: [{ port: 5432, protocol: 'TCP' }],
        exported: false,
        allow: 'policy',
        endpoints: [
          { address: 'fd00::1', ports: { 5432: 6000 } },
          { address: 'db.local', ports: { 5432: 5432 } },
        ],
      },
    ]);
  });

  test('says everything that is wrong at once, each with its line', () => {
    const text = `role: agent
stateDir: 5
cluster: East
servces: []
hub:
  url: redis://h:1
  pasword: hunter2
listen:
  grpc: 127.0.0.1
services:
  - service: shop/web
    ports: [80, 70000]
    endpoints: [foo]
timings: { lease: 5 }
join:
`;
    assert.deepEqual(problemsOf('agent', text).toSorted(), [
      `f.yaml:12: services[0].ports[1]: '70000' must be a port from 1 to 65535`,
      `f.yaml:13: services[0].endpoints[0]: 'foo' must be '<host>:<port>', or a mapping with address and port or ports`,
      `f.yaml:14: timings.lease: '5' must be a duration such as '250ms', '30s' or '5m', from 100 ms to 60000 ms`,
      `f.yaml:15: join: an empty value must be a mapping`,
      `f.yaml:2: stateDir: '5' must be a path`,
      `f.yaml:3: cluster: A cluster name must be 1 to 63 of a-z, 0-9 and '-', not at either end: current value is 'East'`,
      `f.yaml:4: servces: unknown key; did you mean 'services'?`,
      `f.yaml:7: hub.pasword: unknown key; did you mean 'passwordFile'?`,
      `f.yaml:9: listen.grpc: '127.0.0.1' must be an address as <host>:<port>, such as '127.0.0.1:15012' or '[::1]:15012'`,
    ]);
  });
});

/** Role, what is appended to a right file, and what the one problem must say. */
const wrong: readonly (readonly [string, ConfigKind, string, RegExp])[] = [
  [
    'a non-loopback read-only listener',
    'agent',
    'listen: { http: 0.0.0.0:7070 }',
    /^f\.yaml:5: listen\.http: .*loopback/,
  ],
  ['an unknown key far from any', 'agent', 'xyzzy: 1', /xyzzy: unknown key; the file may have role, stateDir/],
  [
    'a reversed port range',
    'agent',
    'importPorts: { from: 30, to: 20 }',
    /importPorts\.to: '20' must be at least 'from'/,
  ],
  [
    'a fixed port twice',
    'agent',
    `importPorts: { fixed: { 'a/b:1': 9, 'a/c:1': 9 } }`,
    /9 is that of 'a\/b:1' already/,
  ],
  ['a fixed key that is none', 'agent', 'importPorts: { fixed: { web: 9 } }', /must have a key such as 'shop\/web:80'/],
  [
    'a suspicion before the second lease',
    'agent',
    'timings: { suspect: 6s }',
    /timings\.suspect: '6s' must be at least twice/,
  ],
  ['death before suspicion', 'agent', 'timings: { dead: 15s }', /timings\.dead: '15s' must be longer than 'suspect'/],
  [
    'a share over 100%',
    'agent',
    'policy: { failover: { healthyThreshold: 170% } }',
    /healthyThreshold: '170%' must be a share/,
  ],
  ['a wrong log level', 'agent', 'log: loud', /log: 'loud' must be 'debug' or 'info'/],
  [
    'a service twice',
    'agent',
    'services: [{service: a/b, ports: [1]}, {service: a/b, ports: [1]}]',
    /services\[1\]\.service: 'a\/b' must be there once: 'a\/b' is services\[0\]/,
  ],
  [
    'a port twice',
    'agent',
    'services: [{service: a/b, ports: [1, 1]}]',
    /services\[0\]\.ports\[1\]: '1' must be there once/,
  ],
  ['no ports', 'agent', 'services: [{service: a/b, ports: []}]', /services\[0\]\.ports: a list must have at least 1/],
  [
    'one port for several',
    'agent',
    `services: [{service: a/b, ports: [1, 2], endpoints: ['h:1']}]`,
    /endpoints\[0\]: 'h:1' must be ports, because/,
  ],
  [
    'a port of another service',
    'agent',
    `services: [{service: a/b, ports: [1], endpoints: [{address: h, ports: {2: 3}}]}]`,
    /endpoints\[0\]\.ports: a mapping must name ports of the service \(1\): there is no 2/,
  ],
  ['UDP', 'agent', 'services: [{service: a/b, ports: [{port: 1, protocol: UDP}]}]', /protocol: 'UDP' must be 'TCP'/],
  [
    'a limit out of range',
    'gateway',
    'limits: { connections: 0 }',
    /limits\.connections: '0' must be a whole number from 1/,
  ],
  [
    'a duration without a unit',
    'gateway',
    'limits: { idleTimeout: 60 }',
    /limits\.idleTimeout: '60' must be a duration/,
  ],
  ['detection by a word', 'gateway', 'http: { detect: maybe }', /http\.detect: 'maybe' must be true or false/],
  ['an unknown key of http', 'gateway', 'http: { detection: true }', /http\.detection: unknown key.*'detect'/],
  [
    'a wrong passphrase key',
    'authority',
    'passphrase: hunter2',
    /passphrase: unknown key; did you mean 'passphraseFile'/,
  ],
  ['an agent key', 'authority', 'cluster: east', /cluster: unknown key/],
  [
    'users of the hub that replicas would share',
    'authority',
    'hubForMembers: { url: redis://r, username: "u-{cluster}", admin: { passwordFile: p } }',
    /hubForMembers\.username: 'u-\{cluster\}' must contain '\{replica\}'/,
  ],
  ['bundles without a key', 'authority', 'bundles: { certFile: web.pem }', /bundles\.keyFile: is required/],
  [
    'bundles at no address',
    'authority',
    'bundles: { certFile: a, keyFile: b, listen: 8444 }',
    /bundles\.listen: '8444' must be an address/,
  ],
  ['a duplicate key', 'authority', 'stateDir: /t', /^f\.yaml:4: not valid YAML: Map keys must be unique/],
  ['a tab', 'authority', 'hub:\n\turl: x', /not valid YAML/],
  ['a tag', 'authority', 'log: !!js/function x', /not valid YAML: Unresolved tag/],
  [
    'a role of another',
    'authority',
    'role: gateway',
    /^f\.yaml:4: role: must be 'authority': the file says it is for 'gateway'/,
  ],
];

suite('parseConfig refuses', () => {
  const right: Readonly<Record<ConfigKind, string>> = { agent, gateway, authority };
  for (const [what, kind, more, expected] of wrong) {
    test(`${what}, and nothing else`, () => {
      assert.deepEqual(problemsOf(kind, right[kind].trimStart()), []);
      const problems = problemsOf(kind, `${right[kind].trimStart()}${more}\n`);
      assert.equal(problems.length, 1, problems.join('\n'));
      assert.match(problems[0] ?? '', expected);
    });
  }
});

test('parseAuthorityConfig wants addresses when it listens everywhere', () => {
  assert.match(
    problemsOf('authority', 'stateDir: /s\nfederationDomain: m.example\n').join(),
    /advertise: is required: the addresses at which agents reach/,
  );
  const result = parseAuthorityConfig(
    readDocument('f.yaml', 'stateDir: /s\nfederationDomain: m.example\nlisten: 10.0.0.1:8443\n'),
    resolve,
  );
  assert(result.ok);
  assert.deepEqual(result.value.advertise, [{ host: '10.0.0.1', port: 8443 }]);
});

test('parseAuthorityConfig serves bundles on 8444 when it is given a certificate, beside its own file', () => {
  const text = `${authority}bundles: { certFile: web.pem, keyFile: /k/web.key }\n`;
  const result = parseAuthorityConfig(readDocument('f.yaml', text), resolve);
  assert(result.ok);
  assert.deepEqual(result.value.bundles, {
    listen: { host: '0.0.0.0', port: 8444 },
    certFile: '/etc/isthmus/web.pem',
    keyFile: '/k/web.key',
  });
});

test('parseGatewayConfig advertises its own address only when it is one', () => {
  assert.match(problemsOf('gateway', 'stateDir: /s\n').join(), /advertise: is required/);
  const result = parseGatewayConfig(
    readDocument('f.yaml', 'stateDir: /s\nlisten: { hbone: "[::1]:15008" }\nlimits: { connectTimeout: 1.5s }\n'),
    resolve,
  );
  assert(result.ok);
  assert.deepEqual(result.value.advertise, [{ address: '::1', port: 15008 }]);
  assert.deepEqual(result.value.limits, { connectTimeoutMs: 1500 });
});

test('parseGatewayConfig looks for HTTP only where it is told to', () => {
  const httpOf = (text: string): object | undefined => {
    const result = parseGatewayConfig(readDocument('f.yaml', `${gateway}${text}`), resolve);
    assert(result.ok);
    return result.value.http;
  };
  assert.equal(httpOf(''), undefined);
  assert.deepEqual(httpOf('http: {}'), { detect: false });
  assert.deepEqual(httpOf('http: { detect: true }'), { detect: true });
});

test('parseConfig never shows a secret', () => {
  const texts = [
    `${agent}hub2: { password: hunter2 }\n`,
    agent.replace('redis://127.0.0.1', 'redis://bob:hunter2@127.0.0.1'),
    agent.replace('redis://127.0.0.1', 'https://bob:hunter2@127.0.0.1'),
    `${agent}join: { tokenFile: [hunter2] }\n`,
    `${agent}join: hunter2\n`.replace('join: hunter2', 'join: { token: hunter2 }'),
    authority.replace('stateDir: /s', 'stateDir: /s\npassphraseFile: ["hunter2"]'),
  ];
  for (const [index, text] of texts.entries()) {
    const problems = problemsOf(index === 5 ? 'authority' : 'agent', text);
    assert.notEqual(problems.length, 0);
    assert.doesNotMatch(problems.join('\n'), /hunter2/);
  }
});

test('parseConfig does not show what stands where the name of a secret file should', () => {
  const problems = problemsOf('agent', agent.replace('6379 }', '6379, passwordFile: 31337 }')).join();
  assert.match(problems, /hub\.passwordFile: a value that is not shown must be a path/);
  assert.doesNotMatch(problems, /31337/);
});

test('a socket path that is too long for a Unix socket is refused with its length', () => {
  const long = `/${'d'.repeat(100)}`;
  assert.match(
    problemsOf('agent', agent.replace('stateDir: state', `stateDir: ${long}`)).join(),
    /stateDir: gives the admin socket a path of 112 bytes, and a Unix socket may have 103/,
  );
});

test('the admin API cannot open beyond its socket: an address in place of a path is refused', () => {
  for (const [kind, text] of [
    ['agent', agent],
    ['authority', authority],
  ] as const) {
    for (const address of [
      '0.0.0.0:7070',
      '127.0.0.1:7070',
      "'[::]:7070'",
      'tcp://0.0.0.0:7070',
      'http://east/',
      7070,
    ]) {
      const problems = problemsOf(kind, `${text}\nadmin: ${address}\n`).join();
      assert.match(
        problems,
        /admin: .*(must be the path of a Unix socket.*looks like an address|must be a path)/,
        problems,
      );
    }
  }
  assert.match(
    problemsOf('agent', agent.replace('stateDir', 'listen: { http: 0.0.0.0:7070 }\nstateDir')).join(),
    /listen\.http: /,
  );
});

test('readDocument survives an alias bomb and any bytes', () => {
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]'];
  for (let level = 1; level < 12; level += 1) {
    const from = String.fromCharCode(96 + level);
    const name = String.fromCharCode(97 + level);
    bomb.push(`${name}: &${name} [${Array(9).fill(`*${from}`).join(',')}]`);
  }
  assert.match(problemsOf('agent', bomb.join('\n')).join(), /not valid YAML: Excessive alias count/);
  for (const text of ['', '\0', '- a', '5', '"', '{', '? [a]: b', '---\na: 1\n---\nb: 2', '\uFEFF', '{[a]: 1}']) {
    assert.notEqual(problemsOf('agent', text).length, 0, JSON.stringify(text));
  }
});

test('toFileForm writes a file that reads back as the same configuration', () => {
  const text = `${agent}
services:
  - { service: shop/web, ports: [80, 81], endpoints: [{ address: h, ports: { 80: 8080 } }], labels: { a: b } }
importPorts: { fixed: { 'shop/web:80': 20080 } }
timings: { lease: 250ms, suspect: 1500ms, dead: 90s }
`;
  const first = parseAgentConfig(readDocument('f.yaml', text), resolve);
  assert(first.ok);
  const second = parseAgentConfig(readDocument('f.yaml', stringify(toFileForm(first.value))), resolve);
  assert(second.ok, JSON.stringify(second));
  const { source: _a, ...before } = first.value;
  const { source: _b, ...after } = second.value;
  assert.deepEqual(after, before);
});

test('toFileForm keeps a key that is called like where the file came from', () => {
  const other = '{ perSecond: 3, burst: 4 }';
  const rates = `rates: { global: { perSecond: 1, burst: 2 }, source: ${other}, identity: ${other} }`;
  const first = parseAuthorityConfig(readDocument('f.yaml', `${authority}${rates}\n`), resolve);
  assert(first.ok, JSON.stringify(first));
  const second = parseAuthorityConfig(readDocument('f.yaml', stringify(toFileForm(first.value))), resolve);
  assert(second.ok, JSON.stringify(second));
  assert.deepEqual(second.value.rates, first.value.rates);
  assert.deepEqual(second.value.rates?.source, { perSecond: 3, burst: 4 });
});
