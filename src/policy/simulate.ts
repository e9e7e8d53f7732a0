import type { ClusterName, ServiceKey } from '../model/names.ts';
import type { ServiceRoute } from '../model/route.ts';
import { type ServiceFacts, type ServiceStanding, standingOf, type TargetFacts } from '../model/shares.ts';
import { compile } from './compile.ts';
import type { CompileInput } from './compile-input.ts';
import { type Drains, noDrains } from './drain.ts';
import { keptOut } from './plan.ts';
import type { PolicySet } from './policy-set.ts';
import { stepAt } from './shares.ts';

/** What is supposed to happen. */
export interface Supposition {
  /** Not to be reached any more. */
  readonly lose: ReadonlySet<ClusterName>;
  /** Taken out by an operator, at the end of the drain. */
  readonly drain: ReadonlySet<ClusterName>;
  /** How much more is asked of every service; 1 = as now. */
  readonly load: number;
  /** The policies in force instead; undefined: those that are. */
  readonly policies: PolicySet | undefined;
}

/** What gateways report of a service. */
export interface Reported {
  readonly facts: ServiceFacts;
  /** Connections that this cluster's clients have open now, by where they go. */
  readonly active: ReadonlyMap<ClusterName, number>;
}

/** One cluster that serves a service, before and after. */
export interface SimulatedTarget {
  readonly cluster: ClusterName;
  /** 0 to 1. */
  readonly before: number;
  readonly after: number;
  /** Why it has that share afterwards. */
  readonly why: string;
  /** Connections that it would carry, and for how many it is rated; undefined: not known. */
  readonly carries: number | undefined;
  readonly rated: number | undefined;
}

export interface SimulatedService {
  readonly service: ServiceKey;
  readonly before: ServiceStanding;
  readonly after: ServiceStanding;
  readonly targets: readonly SimulatedTarget[];
  /** Clusters that serve it and are kept out by policy, though traffic had to move: cluster → reason. */
  readonly avoided: ReadonlyMap<ClusterName, string>;
}

export interface SimulateOptions {
  readonly input: CompileInput;
  readonly reported: (service: ServiceKey) => Reported;
  readonly wallNow: number;
}

/**
 * Where this cluster's traffic would go: compiles and steps as gateways do, on what they report, until everything has
 * settled (no hold, no return, no drain in progress). Load above `spillAt` is followed to where it settles.
 */
export function simulate(supposed: Supposition, options: SimulateOptions): readonly SimulatedService[] {
  const { input, reported, wallNow } = options;
  const now = compile(input);
  const then = compile(suppose(input, supposed, wallNow));
  const keys = new Set([...now.services.keys(), ...then.services.keys()]);
  return [...keys].sort().map((key) => {
    const known = reported(key);
    const was = settle(now.services.get(key), known, { lose: new Set(), load: 1, wallNow });
    const is = settle(then.services.get(key), known, { ...supposed, wallNow });
    const moved = is.standing !== 'Active' || was.standing !== 'Active';
    return {
      service: key,
      before: was.standing,
      after: is.standing,
      targets: targetsOf({ was, is }),
      avoided: moved ? keptOut(key, suppose(input, supposed, wallNow)) : new Map(),
    };
  });
}

function suppose(input: CompileInput, { drain, policies }: Supposition, wallNow: number): CompileInput {
  if (drain.size === 0 && !policies) return input;
  const { self } = input.view;
  const before = input.drains ?? noDrains;
  const clusters = new Map(before.clusters);
  for (const cluster of drain) {
    const record = {
      kind: 'drain',
      target: { cluster },
      state: 'drained',
      overMs: 0,
      issuedAt: wallNow,
      by: 'simulation',
    } as const;
    clusters.set(cluster, { publisher: self, record });
  }
  const drains: Drains = { ...before, clusters };
  return { ...input, drains, ...(policies && { policies }) };
}

interface Settled {
  readonly route: ServiceRoute | undefined;
  readonly standing: ServiceStanding;
  readonly shares: ReadonlyMap<ClusterName, number>;
  readonly reasons: ReadonlyMap<ClusterName, string>;
  readonly carries: ReadonlyMap<ClusterName, number>;
}

interface Assumed {
  readonly lose: ReadonlySet<ClusterName>;
  readonly load: number;
  readonly wallNow: number;
}

/** Load follows shares and shares follow load: they are together after at most so many rounds. */
const maxRounds = 512;
/** Of all that is asked: less than this is no difference. */
const settledPart = 1e-4;

function settle(route: ServiceRoute | undefined, known: Reported, { lose, load, wallNow }: Assumed): Settled {
  const nothing = new Map<ClusterName, never>();
  if (!route) return { route, standing: 'Down', shares: nothing, reasons: nothing, carries: nothing };
  const demand = load * [...known.active.values()].reduce((sum, active) => sum + active, 0);
  let carries: ReadonlyMap<ClusterName, number> = new Map(
    [...known.active].map(([name, active]) => [name, active * load]),
  );
  let result = settledStep(route, { known, lose, carries, wallNow });
  const follows = route.failover.spillAt !== undefined && demand > 0;
  for (let round = 1; round <= (follows ? maxRounds : 1); round += 1) {
    // Shorter and shorter steps close in on it, however steeply shares answer to load; equal ones would swing for ever.
    const { next, furthest } = approach(
      { route, carries, part: 1 / round },
      (cluster) => demand * shareIn(result, cluster),
    );
    if (round > 1 && furthest <= demand * settledPart) break;
    carries = next;
    result = settledStep(route, { known, lose, carries, wallNow });
  }
  const { shares, reasons } = result;
  return { route, standing: standingOf(route, (cluster) => shareIn(result, cluster)), shares, reasons, carries };
}

interface Approach {
  readonly route: ServiceRoute;
  readonly carries: ReadonlyMap<ClusterName, number>;
  /** 0 to 1: of the way. */
  readonly part: number;
}

function shareIn({ shares }: Pick<Settled, 'shares'>, cluster: ClusterName): number {
  return shares.get(cluster) ?? 0;
}

/** What targets carry after a part of the way to what is asked of them, and how long the longest way is. */
function approach(
  { route, carries, part }: Approach,
  asked: (cluster: ClusterName) => number,
): { readonly next: ReadonlyMap<ClusterName, number>; readonly furthest: number } {
  const next = new Map<ClusterName, number>();
  let furthest = 0;
  for (const { cluster } of route.targets) {
    const carried = carries.get(cluster) ?? 0;
    const way = asked(cluster) - carried;
    furthest = Math.max(furthest, Math.abs(way));
    next.set(cluster, carried + way * part);
  }
  return { next, furthest };
}

interface StepInput {
  readonly known: Reported;
  readonly lose: ReadonlySet<ClusterName>;
  readonly carries: ReadonlyMap<ClusterName, number>;
  readonly wallNow: number;
}

function settledStep(route: ServiceRoute, input: StepInput): Pick<Settled, 'shares' | 'reasons'> {
  const facts = new Map<ClusterName, TargetFacts>();
  for (const { cluster, drain } of route.targets) {
    const fact = input.known.facts.get(cluster);
    const load = loadAt(cluster, input);
    if (input.lose.has(cluster)) facts.set(cluster, { reachable: false, health: 0 });
    else if (fact) facts.set(cluster, { ...fact, ...(load !== undefined && { load }) });
    else if (load !== undefined && !drain) facts.set(cluster, { reachable: true, health: 1, load });
  }
  return stepAt(route, { facts, state: new Map() }, { now: 0, wallNow: input.wallNow });
}

/** What it carries for others stays; what it carries for this cluster is as supposed. */
function loadAt(cluster: ClusterName, { known, carries }: StepInput): number | undefined {
  const reported = known.facts.get(cluster)?.load;
  const own = carries.get(cluster) ?? 0;
  if (reported === undefined) return own > 0 ? own : undefined;
  return Math.max(0, reported - (known.active.get(cluster) ?? 0)) + own;
}

function targetsOf({ was, is }: { readonly was: Settled; readonly is: Settled }): readonly SimulatedTarget[] {
  const targets = new Map([...(was.route?.targets ?? []), ...(is.route?.targets ?? [])].map((t) => [t.cluster, t]));
  return [...targets.values()].map(({ cluster, rated }) => ({
    cluster,
    before: was.shares.get(cluster) ?? 0,
    after: is.shares.get(cluster) ?? 0,
    why: is.reasons.get(cluster) ?? 'no target of the policy supposed',
    carries: is.carries.size > 0 ? (is.carries.get(cluster) ?? 0) : undefined,
    rated,
  }));
}
