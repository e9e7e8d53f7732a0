import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { parseAgentConfig } from '../../src/config/agent.ts';
import { readDocument } from '../../src/config/document.ts';
import { toFileForm } from '../../src/config/file-form.ts';
import { formatProblem } from '../../src/config/problem.ts';

const base = `
stateDir: /s
cluster: east
hub: { url: redis://127.0.0.1:6379 }
advertise: ['10.0.0.1:15012']
`;
const resolve = (path: string): string => (path.startsWith('/') ? path : `/etc/isthmus/${path}`);

function problems(text: string): readonly string[] {
  const result = parseAgentConfig(readDocument('f.yaml', base + text), resolve);
  return result.ok ? [] : result.problems.map((problem) => formatProblem('f.yaml', problem));
}

test('workloads: none by default, SVIDs of 12 hours', () => {
  const result = parseAgentConfig(readDocument('f.yaml', base), resolve);
  assert(result.ok);
  assert.deepEqual(result.value.workloads, { serverNames: [], jwt: [], sockets: [] });
  assert.equal(result.value.svidLifeMs, 12 * 3_600_000);
});

test('workloads: issuers and sockets, defaults applied, and `config view` reads back equal', () => {
  const text = `${base}
svidLife: 1h
workloads:
  serverNames: [istiod.istio-system.svc]
  jwt:
    - { issuer: 'https://kubernetes.default.svc', keysFile: jwks.json }
    - { issuer: 'https://ci.example', audience: mine, keys: { keys: [] }, subject: 'repo:{namespace}/{serviceAccount}' }
  sockets:
    - { path: run/web/api.sock, serviceAccount: shop/web, uid: 1000 }
    - { path: /run/cart/api.sock, spiffeId: 'spiffe://east.mesh.example/ns/shop/sa/cart' }
`;
  const result = parseAgentConfig(readDocument('f.yaml', text), resolve);
  assert(result.ok);
  assert.deepEqual(result.value.workloads, {
    serverNames: ['istiod.istio-system.svc'],
    jwt: [
      {
        issuer: 'https://kubernetes.default.svc',
        audience: 'isthmus',
        keysFile: '/etc/isthmus/jwks.json',
        subject: 'system:serviceaccount:{namespace}:{serviceAccount}',
      },
      {
        issuer: 'https://ci.example',
        audience: 'mine',
        keys: { keys: [] },
        subject: 'repo:{namespace}/{serviceAccount}',
      },
    ],
    sockets: [
      { path: '/etc/isthmus/run/web/api.sock', serviceAccount: 'shop/web', uid: 1000 },
      { path: '/run/cart/api.sock', spiffeId: 'spiffe://east.mesh.example/ns/shop/sa/cart' },
    ],
  });
  const again = parseAgentConfig(readDocument('g.yaml', stringify(toFileForm(result.value))), resolve);
  assert(again.ok);
  assert.deepEqual(again.value.workloads, result.value.workloads);
  assert.equal(again.value.svidLifeMs, 3_600_000);
});

test('workloads: everything that is wrong, with its line', () => {
  const found = problems(`svidLife: 25h
workloads:
  jwt:
    - { issuer: 'https://a', subject: 'x:{namespace}' }
    - { issuer: 'https://b', keysFile: k, keys: { keys: [] } }
  sockets:
    - { path: /run/web/a.sock, spiffeId: 'spiffe://east.mesh.example/isthmus/agent/x' }
    - { path: /run/web/b.sock, spiffeId: 'spiffe://east.mesh.example' }
    - { path: /run/c/b.sock }
    - { path: /run/d/b.sock, serviceAccount: shop }
  serverNames: ['*.example']
`);
  const wanted = [
    /^f.yaml:6: svidLife: '25h' must be a duration/,
    /^f.yaml:9: workloads.jwt\[0\].keysFile: is required/,
    /^f.yaml:9: workloads.jwt\[0\].subject: .* must have \{namespace\} and \{serviceAccount\} once each/,
    /^f.yaml:10: workloads.jwt\[1\].keysFile: is required unless/,
    /^f.yaml:12: workloads.sockets\[0\].spiffeId: .* must be a workload's/,
    /^f.yaml:13: workloads.sockets\[1\].spiffeId: .* must be a workload's/,
    /^f.yaml:14: workloads.sockets\[2\].serviceAccount: is required/,
    /^f.yaml:15: workloads.sockets\[3\].serviceAccount: 'shop' must be a service account/,
    /^f.yaml:16: workloads.serverNames\[0\]: '\*\.example' must be a DNS name/,
  ];
  for (const pattern of wanted)
    assert.ok(
      found.some((line) => pattern.test(line)),
      `${pattern}\n${found.join('\n')}`,
    );
  assert.equal(found.length, wanted.length, found.join('\n'));
});

test('workloads: one issuer once, one directory for one socket', () => {
  const found = problems(`workloads:
  jwt:
    - { issuer: 'https://a', keysFile: k }
    - { issuer: 'https://a', keysFile: l }
  sockets:
    - { path: /run/web/a.sock, serviceAccount: shop/web }
    - { path: /run/web/b.sock, serviceAccount: shop/cart }
`);
  assert.match(found[0] ?? '', /jwt\[1\].issuer: 'https:\/\/a' must be there once/);
  assert.match(
    found[1] ?? '',
    /sockets\[1\].path: .*must be in a directory of its own: '\/run\/web' is that of sockets\[0\]/,
  );
});
