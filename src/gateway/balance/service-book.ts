import type { ClusterName, ServiceKey } from '../../model/names.ts';
import type { RouteTable } from '../../model/route.ts';
import { type SharesStep, standingOf } from '../../model/shares.ts';
import type { CarriedLoads } from '../../wire/carried-loads.ts';
import type { EndpointReport, ServiceReport, TargetReport } from '../../wire/gateway-report.ts';
import {
  afterFailure,
  afterGood,
  afterProbeFailed,
  afterReached,
  afterReset,
  afterTime,
  asOutlier,
  type Ejection,
  type EjectionRules,
  mayEject,
  type ProbeRules,
  probeDue,
  probing,
} from '../health/ejection.ts';
import { factsOf, sameFacts } from '../health/facts.ts';
import { isOutlier, type Tally } from '../health/success-rate.ts';
import type { Moves } from './moves.ts';
import { TargetOrder } from './order.ts';
import { type EndpointState, type Judged, ServiceEntry, type TargetState } from './service-entry.ts';

/** Something went out of use or came back, for the log. */
export interface HealthChange {
  readonly service: ServiceKey;
  readonly cluster: ClusterName;
  /** Undefined: the whole service in that cluster. */
  readonly endpoint: string | undefined;
  readonly up: boolean;
  readonly reason: string | undefined;
}

/** What is judged: one local endpoint, or a whole service in another cluster. */
export type Subject =
  | { readonly kind: 'endpoint'; readonly entry: ServiceEntry; readonly state: EndpointState }
  | { readonly kind: 'remote'; readonly entry: ServiceEntry; readonly cluster: ClusterName };

/** What one connection came to, after it was connected. */
export type Outcome =
  | 'good'
  /** Reset by the other side before a single byte. */
  | 'reset'
  /** A request came to nothing: no answer in time, none that is HTTP, or one that says 502, 503 or 504. */
  | 'failed'
  /** Says nothing: the client left, or the tunnel under it broke. */
  | 'neutral';

export interface ServiceBookOptions {
  readonly self: ClusterName;
  readonly step: SharesStep;
  readonly rules: ProbeRules;
  /** Whether a gateway of that cluster is reached now; `unknown` before the first attempt has ended. */
  readonly reach: (cluster: ClusterName) => 'up' | 'down' | 'unknown';
  readonly onChange: (change: HealthChange) => void;
  /** All traffic of a service has left its preferred tier. */
  readonly onFailover?: (service: ServiceKey) => void;
  /** Where moves of traffic are noted. */
  readonly moves?: Moves;
}

/** What the other gateways of this cluster carry is forgotten after so long: about five times that it was not told. */
const siblingsStaleMs = 5000;

/** All services of the table with their health, counters and shares. Pure: time comes in with each call. */
export class ServiceBook {
  readonly #options: ServiceBookOptions;
  readonly #entries = new Map<ServiceKey, ServiceEntry>();
  #siblings: { readonly loads: CarriedLoads; readonly at: number } | undefined;

  constructor(options: ServiceBookOptions) {
    this.#options = options;
  }

  get(service: ServiceKey): ServiceEntry | undefined {
    return this.#entries.get(service);
  }

  get entries(): Iterable<ServiceEntry> {
    return this.#entries.values();
  }

  setTable(table: RouteTable, now: number): void {
    for (const key of this.#entries.keys()) if (!table.services.has(key)) this.#entries.delete(key);
    for (const [key, route] of table.services) {
      const entry = this.#entries.get(key);
      if (!entry) this.#entries.set(key, new ServiceEntry(route));
      else if (entry.route !== route) entry.setRoute(route, now);
    }
    this.refresh(now);
  }

  /** The other gateways of this cluster carry so much to the same endpoints. */
  setSiblings(loads: CarriedLoads, now: number): void {
    this.#siblings = { loads, at: now };
    this.refresh(now);
  }

  /** Steps every service whose facts changed or whose shares move with time. Call on each fact and every 250 ms. */
  refresh(now: number): void {
    for (const entry of this.#entries.values()) this.#refresh(entry, now);
  }

  /** Call about once a second: ends what only time ends, and looks for those that do worse than their siblings. */
  judge(now: number): void {
    for (const entry of this.#entries.values()) {
      const subjects = this.#subjects(entry);
      for (const subject of subjects) this.#set(subject, afterTime(judgedOf(subject).ejection, now), now);
      if (entry.outlier.successRate === 'auto') this.#ejectOutlier(subjects, now);
    }
  }

  /** It could not be reached. */
  failed(subject: Subject, failure: { readonly reason: string; readonly now: number }): void {
    const { now } = failure;
    const judged = judgedOf(subject);
    judged.outcomes.note(false, now);
    this.#set(subject, afterFailure(judged.ejection, this.#failure(subject, failure), this.#rules(subject)), now);
  }

  /** A connection to it came about. */
  reached(subject: Subject, now: number): void {
    this.#set(subject, afterReached(judgedOf(subject).ejection, now), now);
  }

  /** A connection to it has ended. */
  ended(subject: Subject, outcome: Outcome, now: number): void {
    if (outcome === 'neutral') return;
    const judged = judgedOf(subject);
    judged.outcomes.note(outcome === 'good', now);
    if (outcome === 'good') return this.#set(subject, afterGood(judged.ejection), now);
    const reason = outcome === 'reset' ? 'reset before the first byte' : 'answers with errors';
    const failure = this.#failure(subject, { reason, now });
    this.#set(subject, afterReset(judged.ejection, failure, this.#rules(subject)), now);
  }

  probeFailed(subject: Subject, now: number): void {
    this.#set(subject, afterProbeFailed(judgedOf(subject).ejection, now, this.#rules(subject)), now);
  }

  /** Up to `limit` probes that are due; each is then due again later. */
  takeProbes(now: number, limit: number): Subject[] {
    const due: Subject[] = [];
    for (const entry of this.#entries.values()) {
      if (due.length >= limit) break;
      for (const subject of this.#subjects(entry)) {
        const judged = judgedOf(subject);
        if (due.length >= limit || !probeDue(judged.ejection, now)) continue;
        judged.ejection = probing(judged.ejection, now, this.#options.rules);
        due.push(subject);
      }
    }
    return due;
  }

  report(now: number): ServiceReport[] {
    return [...this.#entries.values()].map((entry) => ({
      service: entry.route.key,
      targets: entry.route.targets.map((target) => this.#targetReport(entry, target.cluster, now)),
      endpoints: entry.route.endpoints.map((endpoint): EndpointReport => {
        const state = entry.endpoints.get(endpoint.id);
        const ejected = state?.ejection.kind === 'out' ? state.ejection.reason : undefined;
        const reason = ejected ?? (endpoint.ready ? undefined : 'not ready');
        const up = entry.endpointUp(endpoint);
        return { id: endpoint.id, up, active: state?.active ?? 0, ...(reason !== undefined && { reason }) };
      }),
    }));
  }

  #targetReport(entry: ServiceEntry, cluster: ClusterName, now: number): TargetReport {
    const state = entry.targets.get(cluster);
    const facts = entry.facts.get(cluster);
    const ejection = state?.ejection;
    const why = entry.result.reasons.get(cluster) ?? '';
    const load = state?.load.total(now);
    return {
      cluster,
      share: entry.result.shares.get(cluster) ?? 0,
      why: ejection?.kind === 'out' ? `${why}${why && '; '}refused: ${ejection.reason}` : why,
      reachable: facts?.reachable ?? true,
      health: facts?.health ?? 1,
      connections: state?.connections ?? 0,
      failures: state?.failures ?? 0,
      active: state?.active ?? 0,
      ...(load !== undefined && { load }),
    };
  }

  /** What can be ejected together: the endpoints of a service, and its other clusters. */
  #subjects(entry: ServiceEntry): Subject[] {
    const subjects: Subject[] = [];
    for (const state of entry.endpoints.values()) subjects.push({ kind: 'endpoint', entry, state });
    for (const cluster of entry.targets.keys()) {
      if (cluster !== this.#options.self) subjects.push({ kind: 'remote', entry, cluster });
    }
    return subjects;
  }

  /** At most one at a time: the mean of the others is another one afterwards. */
  #ejectOutlier(subjects: readonly Subject[], now: number): void {
    for (const kind of ['endpoint', 'remote'] as const) {
      const inUse = subjects.filter((subject) => subject.kind === kind && judgedOf(subject).ejection.kind === 'in');
      if (inUse.length < 2) continue;
      const tallies = inUse.map((subject) => judgedOf(subject).outcomes.tally(now));
      const all = tallies.reduce(sum, { good: 0, bad: 0 });
      const worst = inUse.findIndex((_, index) => {
        const own = tallies[index] ?? all;
        return isOutlier(own, { good: all.good - own.good, bad: all.bad - own.bad });
      });
      const subject = inUse[worst];
      if (!subject) continue;
      const judged = judgedOf(subject);
      const failure = this.#failure(subject, { reason: 'succeeds less often than the others', now });
      judged.outcomes.clear();
      this.#set(subject, asOutlier(judged.ejection, failure, this.#rules(subject)), now);
    }
  }

  #rules({ entry }: Subject): EjectionRules {
    return { ...this.#options.rules, outlier: entry.outlier };
  }

  #failure(
    subject: Subject,
    { reason, now }: { readonly reason: string; readonly now: number },
  ): { readonly reason: string; readonly now: number; readonly mayEject: boolean } {
    const { entry } = subject;
    const states = subject.kind === 'endpoint' ? [...entry.endpoints.values()] : this.#remotes(entry);
    const out = states.filter(({ ejection }) => ejection.kind === 'out').length;
    return { reason, now, mayEject: mayEject(out, states.length, entry.outlier) };
  }

  #remotes(entry: ServiceEntry): Judged[] {
    const clusters = entry.route.targets.map(({ cluster }) => cluster);
    return clusters.filter((cluster) => cluster !== this.#options.self).map((cluster) => entry.target(cluster));
  }

  #set(subject: Subject, next: Ejection, now: number): void {
    const judged = judgedOf(subject);
    const before = judged.ejection;
    judged.ejection = next;
    if (before.kind === next.kind) return;
    const { entry } = subject;
    const up = next.kind === 'in';
    if (up && subject.kind === 'endpoint') subject.state.since = now;
    this.#options.onChange({
      service: entry.route.key,
      cluster: subject.kind === 'endpoint' ? this.#options.self : subject.cluster,
      endpoint: subject.kind === 'endpoint' ? subject.state.endpoint.id : undefined,
      up,
      reason: next.kind === 'out' ? next.reason : undefined,
    });
    this.#refresh(entry, now);
  }

  #siblingLoad({ route }: ServiceEntry, now: number): number {
    if (!this.#siblings || now - this.#siblings.at > siblingsStaleMs) return 0;
    return this.#siblings.loads.get(route.key) ?? 0;
  }

  #refresh(entry: ServiceEntry, now: number): void {
    const facts = factsOf(entry.route, {
      self: this.#options.self,
      endpointUp: (endpoint) => entry.endpointUp(endpoint),
      reach: this.#options.reach,
      ejected: (cluster) => entry.targets.get(cluster)?.ejection.kind === 'out',
      load: (cluster) =>
        cluster === this.#options.self
          ? entry.carriedHere + this.#siblingLoad(entry, now)
          : remoteLoad(entry.targets.get(cluster), now),
    });
    const due = entry.result.changesAt !== undefined && entry.result.changesAt <= now;
    if (!entry.stale && !due && sameFacts(facts, entry.facts)) return;
    entry.stale = false;
    entry.facts = facts;
    const { shares } = (entry.result = this.#options.step(entry.route, facts, entry.result.state, now));
    entry.order = new TargetOrder(entry.route.targets, entry.result);
    const before = entry.standing;
    entry.standing = standingOf(entry.route, (cluster) => shares.get(cluster) ?? 0);
    if (entry.standing === 'Failover' && before !== 'Failover') this.#options.onFailover?.(entry.route.key);
    this.#options.moves?.note(entry, now);
  }
}

function judgedOf(subject: Subject): Judged {
  return subject.kind === 'endpoint' ? subject.state : subject.entry.target(subject.cluster);
}

/** What its gateways said lately, and never less than what this gateway itself has there. */
function remoteLoad(state: TargetState | undefined, now: number): number | undefined {
  const own = state && state.active > 0 ? state.active : undefined;
  const told = state?.load.total(now);
  return own === undefined || told === undefined ? (told ?? own) : Math.max(told, own);
}

function sum(a: Tally, b: Tally): Tally {
  return { good: a.good + b.good, bad: a.bad + b.bad };
}
