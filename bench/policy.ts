import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { TargetOrder } from '../src/gateway/balance/order.ts';
import { parseTrustDomain } from '../src/model/identity.ts';
import { type ClusterName, parseClusterName, parseServiceKey, type ServiceKey } from '../src/model/names.ts';
import type { ExportRecord } from '../src/model/record.ts';
import type { ClusterView, ServiceView } from '../src/model/view.ts';
import { compile } from '../src/policy/compile.ts';
import type { CompileInput } from '../src/policy/compile-input.ts';
import { defaultFailover } from '../src/policy/defaults.ts';
import { parsePolicy } from '../src/policy/parse.ts';
import type { PublishedPolicy } from '../src/policy/policy.ts';
import { PolicySet } from '../src/policy/policy-set.ts';
import { step } from '../src/policy/shares.ts';
import { SortedMap } from '../src/runtime/sorted-map.ts';
import { type BenchRow, median, rowOf, withTarget } from './row.ts';

/**
 * The plan of one cluster in a federation of 50, in which 10,000 services are each exported by 5, with a policy for the
 * federation, for every tenth namespace and every hundredth service.
 */
export const needs: readonly string[] = [];

const clusterCount = 50;
const serviceCount = 10_000;
const exportersEach = 5;
const namespaces = 100;
const incrementals = 200;
const decisions = 1_000_000;
/** So few draws that no garbage is collected meanwhile, unless each of them leaves some. */
const sliceLength = 10_000;

const units: Readonly<Record<string, string>> = {
  full_compile_ms: 'ms',
  incremental_ms: 'ms',
  decision_us: 'us',
  decision_bytes: 'B',
};
/** At most. What a slice of decisions leaves is less than one object for each of them: a few for all. */
const targets: Readonly<Record<string, number>> = {
  full_compile_ms: 1000,
  incremental_ms: 1,
  decision_us: 2,
  decision_bytes: 0.1,
};

interface Options {
  readonly rounds: number;
  readonly only?: readonly string[];
}

export async function run({ rounds, only }: Options): Promise<BenchRow[]> {
  const figures: Record<string, number[]> = Object.fromEntries(Object.keys(units).map((what) => [what, []]));
  for (let round = 0; round < rounds; round += 1) {
    const world = build(round);
    const input = inputOf(world.services, world.clusters, world.policies);
    figures['full_compile_ms']?.push(timed(() => compile(input)));
    figures['incremental_ms']?.push(incremental(world, input));
    figures['decision_us']?.push(decision(input));
    figures['decision_bytes']?.push(decisionBytes(input));
  }
  return Object.entries(figures)
    .filter(([what]) => only === undefined || only.includes(what))
    .map(([what, isthmus]) =>
      withTarget(rowOf({ bench: 'policy', what, unit: units[what] ?? '' }, { isthmus }), targets[what]),
    );
}

function timed(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

interface World {
  readonly names: readonly ClusterName[];
  readonly clusters: SortedMap<ClusterName, ClusterView>;
  readonly services: SortedMap<ServiceKey, ServiceView>;
  readonly policies: PolicySet;
}

function build(round: number): World {
  const names = Array.from({ length: clusterCount }, (_, index) => parseClusterName(`cluster-${index}`));
  const clusters = SortedMap.from(names.map((name, index) => [name, clusterOf(name, index)] as const));
  const services = SortedMap.from(
    Array.from({ length: serviceCount }, (_, index) => {
      const key = parseServiceKey(`ns-${index % namespaces}/service-${index}`);
      return [key, serviceOf(key, names, index + round)] as const;
    }),
  );
  return { names, clusters, services, policies: new PolicySet(policiesOf(names[0] as ClusterName)) };
}

function clusterOf(name: ClusterName, index: number): ClusterView {
  return {
    name,
    trustDomain: parseTrustDomain(`${name}.mesh.example`),
    epoch: 1,
    revision: 1,
    freshness: 'live',
    heardAt: 0,
    labels: { region: `region-${index % 5}`, tier: index % 2 === 0 ? 'gold' : 'silver' },
    gateways: [],
    links: [],
    notices: [],
  };
}

function serviceOf(key: ServiceKey, names: readonly ClusterName[], index: number): ServiceView {
  const ports = [{ port: 80, protocol: 'TCP' as const }];
  const exports = new Map<ClusterName, ExportRecord>();
  for (let each = 0; each < exportersEach; each += 1) {
    exports.set(names[(index + each * 7) % names.length] as ClusterName, {
      kind: 'export',
      service: key,
      type: 'ClusterSetIP',
      ports,
      allow: 'members',
      endpoints: { total: 4, ready: 3 },
      createdAt: 1,
    });
  }
  return { key, type: 'ClusterSetIP', ports, exports, conflicts: [] };
}

function policiesOf(publisher: ClusterName): PublishedPolicy[] {
  const made: PublishedPolicy[] = [];
  const add = (kind: string, metadata: object, spec: object): void => {
    const parsed = parsePolicy({ apiVersion: 'isthmus.dev/v1alpha1', kind, metadata, spec });
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.faults));
    made.push({ policy: parsed.policy, publisher, revision: made.length, createdAt: made.length });
  };
  const locality = { tiers: [{ match: { region: 'same' } }, { match: { labels: { tier: 'gold' } } }] };
  add('FederationPolicy', { name: 'default' }, { locality, failover: { spillAt: '80%' } });
  for (let index = 0; index < namespaces; index += 10) {
    add('TrafficPolicy', { name: 'all', namespace: `ns-${index}` }, { failover: { hold: '10s' } });
  }
  for (let index = 0; index < serviceCount; index += 100) {
    const target = { service: `service-${index}` };
    add(
      'TrafficPolicy',
      { name: `s-${index}`, namespace: `ns-${index % namespaces}` },
      { target, failover: { hold: '5s' } },
    );
  }
  return made;
}

function inputOf(
  services: SortedMap<ServiceKey, ServiceView>,
  clusters: SortedMap<ClusterName, ClusterView>,
  policies: PolicySet,
): CompileInput {
  return {
    view: { self: parseClusterName('cluster-0'), revision: 1, clusters, services },
    local: { synced: true, services: new Map() },
    importPorts: SortedMap.from<string, number>([]),
    failover: defaultFailover,
    policies,
  };
}

/** Mean over many changes of one service, as they come in. */
function incremental({ names, clusters, services, policies }: World, input: CompileInput): number {
  let table = compile(input);
  let changed = services;
  const { local, importPorts } = input;
  const keys = [...services.keys()];
  let total = 0;
  for (let change = 0; change < incrementals; change += 1) {
    const key = keys[(change * 7919) % keys.length] as ServiceKey;
    changed = changed.with([[key, serviceOf(key, names, change * 13 + 1)]]);
    const next = { ...inputOf(changed, clusters, policies), local, importPorts };
    total += timed(() => {
      table = compile(next, table);
    });
  }
  return total / incrementals;
}

/** Whom to try first, connection after connection. */
class Decisions {
  readonly #order: TargetOrder;
  /** Drawn beforehand: what a random number costs is not ours. */
  readonly #draws: Float64Array;

  constructor(input: CompileInput) {
    const [route] = compile(input).services.values();
    if (!route) throw new Error('nothing compiled');
    this.#order = new TargetOrder(route.targets, step(route, new Map(), new Map(), 0));
    let seed = 1;
    this.#draws = Float64Array.from({ length: sliceLength }, () => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return seed / 2 ** 32;
    });
  }

  makeSlice(): void {
    const [order, draws] = [this.#order, this.#draws];
    let found = 0;
    for (let each = 0; each < sliceLength; each += 1) if (order.at(order.draw(draws[each] ?? 0), 0)) found += 1;
    if (found !== sliceLength) throw new Error(`${sliceLength - found} draws found nobody`);
  }
}

const slices = decisions / sliceLength;

/** Mean over many draws. */
function decision(input: CompileInput): number {
  const made = new Decisions(input);
  const ms = timed(() => {
    for (let slice = 0; slice < slices; slice += 1) made.makeSlice();
  });
  return (ms * 1000) / decisions;
}

/** Of many draws, once they are compiled: what half of the slices leave at most. A slice during which garbage was collected is made again. */
function decisionBytes(input: CompileInput): number {
  const made = new Decisions(input);
  for (let slice = 0; slice < slices; slice += 1) made.makeSlice();
  collectGarbage();
  // Asking how much is used takes a little itself.
  const empty = Array.from({ length: 100 }, () => grownBy(() => undefined)).filter((bytes) => bytes >= 0);
  const cost = Math.min(...empty);
  const left: number[] = [];
  for (let tries = 0; left.length < slices; tries += 1) {
    if (tries > 10 * slices) throw new Error('garbage is collected during most slices: decisions allocate');
    const grown = grownBy(() => made.makeSlice());
    if (grown < 0) continue;
    left.push(Math.max(0, grown - cost));
  }
  // What decisions leave they leave in every slice; what the engine does now and then is not theirs.
  return median(left) / sliceLength;
}

function grownBy(work: () => void): number {
  const before = process.memoryUsage().heapUsed;
  work();
  return process.memoryUsage().heapUsed - before;
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect === 'function') collect();
}
