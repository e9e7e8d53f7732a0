import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseServiceKey, type ServiceKey } from '../../src/model/names.ts';
import type { ServicePort } from '../../src/model/record.ts';
import type { MeshView } from '../../src/model/view.ts';
import { unseenRequests, unseenWarnings } from '../../src/policy/unseen.ts';
import { inputOf, policy, published, web, west } from './support/federation.ts';

const db = parseServiceKey('shop/db');
const other = parseServiceKey('bank/db');
const http: ServicePort = { port: 80, protocol: 'TCP', appProtocol: 'http' };
const grpc: ServicePort = { port: 81, protocol: 'TCP', name: 'grpc-api' };
const bytes: ServicePort = { port: 5432, protocol: 'TCP', name: 'postgres' };

function viewOf(services: readonly (readonly [ServiceKey, readonly ServicePort[]])[]): MeshView {
  const { view } = inputOf(west, [{ name: west, endpoints: 1 }]);
  const shared = view.services.get(web);
  assert.ok(shared);
  return { ...view, services: new Map(services.map(([key, ports]) => [key, { ...shared, key, ports }])) };
}

const view = viewOf([
  [web, [http, grpc]],
  [db, [bytes]],
  [other, [bytes]],
]);

function access(spec: object): readonly string[] {
  return unseenRequests(published(policy('AccessPolicy', spec)), view);
}

function traffic(spec: object, kind = 'TrafficPolicy'): readonly string[] {
  return unseenRequests(published(policy(kind, spec)), view);
}

suite('unseenRequests', () => {
  test('a rule by method on a port that says nothing of HTTP is told with what it does there', () => {
    assert.deepEqual(access({ to: { services: ['db'], methods: ['GET'] } }), [
      'methods and paths cannot be seen on shop/db:5432, where nothing says that HTTP is spoken: it allows nothing there',
    ]);
    assert.match(
      access({ action: 'deny', to: { pathPrefixes: ['/x'] } })[0] ?? '',
      / on shop\/db:5432, .* it denies every/,
    );
    assert.match(
      access({ action: 'deny', mode: 'audit', to: { pathPrefixes: ['/x'] } })[0] ?? '',
      /it would, in force, deny/,
    );
  });

  test('nothing is told of rules that can be judged, or are not by request', () => {
    assert.deepEqual(access({ to: { services: ['web'], methods: ['GET'] } }), []);
    assert.deepEqual(access({ to: { ports: [80, 81], methods: ['GET'] } }), []);
    assert.deepEqual(access({ to: { services: ['db'] } }), []);
    assert.deepEqual(access({ to: { services: ['none'], methods: ['GET'] } }), [], 'what is not there is pending');
  });

  test('http and a hash by header are told where no port of the target speaks HTTP', () => {
    const spec = { http: { timeout: '1s', retries: { attempts: 1 } }, loadBalancing: { hash: { header: 'x' } } };
    const hash = { ...spec, target: { service: 'db' } };
    assert.deepEqual(traffic({ ...hash }), [
      'http.timeout, http.retries.attempts, loadBalancing.hash has no effect: no port of shop/db says that it speaks HTTP',
    ]);
    assert.deepEqual(traffic({ ...spec, target: { service: 'web' } }), []);
    assert.deepEqual(traffic(spec), [], 'a service of the namespace does');
    assert.deepEqual(traffic(spec, 'FederationPolicy'), []);
    assert.deepEqual(traffic({ target: { service: 'db' }, loadBalancing: { hash: 'sourceIP' } }), []);
  });

  test('of one service only, and with the policy in front', () => {
    const all = published(policy('FederationPolicy', { http: { timeout: '1s' } }, 'default'));
    assert.deepEqual(unseenRequests(all, view, [web]), []);
    assert.deepEqual(unseenWarnings([all], view, [db]), [
      'FederationPolicy default of east: http.timeout has no effect: no port of shop/db says that it speaks HTTP',
    ]);
  });

  test('names a few services, and how many more', () => {
    const keys = Array.from({ length: 9 }, (_, index) => parseServiceKey(`shop/s${index}`));
    const [note] = unseenRequests(
      published(policy('AccessPolicy', { to: { methods: ['GET'] } })),
      viewOf(keys.map((key) => [key, [bytes]])),
    );
    assert.match(note ?? '', / on shop\/s0:5432, shop\/s1:5432, shop\/s2:5432 and 6 more, where/);
  });
});
