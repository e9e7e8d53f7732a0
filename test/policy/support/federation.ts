import { parseTrustDomain } from '../../../src/model/identity.ts';
import { type ClusterName, parseClusterName, parseServiceKey, type ServiceKey } from '../../../src/model/names.ts';
import type { LocalService, LocalServices } from '../../../src/model/ports/service-source.ts';
import type { ExportRecord, ServicePort } from '../../../src/model/record.ts';
import type { ClusterView, MeshView, ServiceView } from '../../../src/model/view.ts';
import type { CompileInput } from '../../../src/policy/compile-input.ts';
import { describeFaults, parsePolicy } from '../../../src/policy/parse.ts';
import type { Policy, PublishedPolicy } from '../../../src/policy/policy.ts';
import { PolicySet } from '../../../src/policy/policy-set.ts';

export const east: ClusterName = parseClusterName('east');
export const south: ClusterName = parseClusterName('south');
export const west: ClusterName = parseClusterName('west');
export const web: ServiceKey = parseServiceKey('shop/web');
const webPort: ServicePort = { port: 80, protocol: 'TCP', appProtocol: 'http' };

/** Any of the three kinds, from its `spec`. */
export function policy(kind: string, spec: object, name = 'web'): Policy {
  const metadata = { name, ...(kind !== 'FederationPolicy' && { namespace: 'shop' }) };
  const parsed = parsePolicy({ apiVersion: 'isthmus.dev/v1alpha1', kind, metadata, spec });
  if (!parsed.ok) throw new Error(describeFaults(parsed.faults));
  return parsed.policy;
}

/** In force, published by `publisher` at a time. */
export function published(of: Policy, publisher: ClusterName = east, createdAt = 1): PublishedPolicy {
  return { policy: of, publisher, revision: createdAt, createdAt };
}

/** What `spec`s of TrafficPolicies for shop/web come to. */
export function trafficSet(spec: object): PolicySet {
  return new PolicySet([published(policy('TrafficPolicy', { target: { service: 'web' }, ...spec }))]);
}

/** One cluster of a made-up federation. */
export interface Member {
  readonly name: ClusterName;
  readonly labels?: Readonly<Record<string, string>>;
  /** Endpoints of shop/web; 0 = it does not export it. */
  readonly endpoints: number;
  readonly ready?: number;
  readonly concurrent?: number;
}

export function exportOf(service: ServiceKey, { endpoints, ready = endpoints, concurrent }: Member): ExportRecord {
  return {
    kind: 'export',
    service,
    type: 'ClusterSetIP',
    ports: [webPort],
    allow: 'members',
    endpoints: { total: endpoints, ready },
    createdAt: 1,
    ...(concurrent !== undefined && { capacity: { concurrent } }),
  };
}

/** What the cluster `self` compiles from when these members export shop/web. */
export function inputOf(self: ClusterName, members: readonly Member[], over: Partial<CompileInput> = {}): CompileInput {
  const exports = new Map(members.filter(({ endpoints }) => endpoints > 0).map((m) => [m.name, exportOf(web, m)]));
  const services = new Map<ServiceKey, ServiceView>();
  if (exports.size > 0) {
    services.set(web, {
      key: web,
      type: 'ClusterSetIP',
      ports: [webPort],
      exports,
      conflicts: [],
    });
  }
  const view: MeshView = { self, revision: 1, clusters: new Map(members.map((m) => [m.name, clusterOf(m)])), services };
  const own = members.find(({ name }) => name === self);
  return {
    view,
    local: localOf(own && own.endpoints > 0 ? own : undefined),
    importPorts: new Map([['shop/web:80', 20_000]]),
    failover: { healthyThreshold: 0.7, holdMs: 1000, returnOverMs: 4000 },
    ...over,
  };
}

function clusterOf({ name, labels = {} }: Member): ClusterView {
  return {
    name,
    trustDomain: parseTrustDomain(`${name}.mesh.example`),
    epoch: 1,
    revision: 1,
    freshness: 'live',
    heardAt: 0,
    labels,
    gateways: [],
    links: [],
    notices: [],
  };
}

function localOf(own: Member | undefined): LocalServices {
  if (!own) return { synced: true, services: new Map() };
  const { endpoints, ready = endpoints, concurrent } = own;
  const service: LocalService = {
    key: web,
    ports: [webPort],
    exported: true,
    allow: 'members',
    ...(concurrent !== undefined && { capacity: { concurrent } }),
    endpoints: Array.from({ length: endpoints }, (_, index) => ({
      id: `web-${index}`,
      address: '127.0.0.1',
      ports: new Map([[80, 8080 + index]]),
      ready: index < ready,
    })),
  };
  return { synced: true, services: new Map([[web, service]]) };
}
