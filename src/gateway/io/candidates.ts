import { IsthmusError } from '../../model/error.ts';
import type { ClusterName } from '../../model/names.ts';
import type { ConnectRequest } from '../../wire/connect.ts';
import { hash32 } from '../balance/choice/hash.ts';
import type { Candidate } from '../balance/race.ts';
import type { EndpointState, ServiceEntry } from '../balance/service-entry.ts';
import { type DialContext, type Dialled, localCandidate, type Place, remoteCandidate } from './dial.ts';
import { Link } from './link.ts';
import type { SessionPool } from './pool.ts';

export interface CandidateContext extends DialContext {
  readonly pool: SessionPool;
  readonly random: () => number;
  readonly limits: DialContext['limits'] & {
    /** Candidates of one connection. */
    readonly attempts: number;
  };
}

/** Inside one target, so that others get their turn. */
const endpointsPerTarget = 3;
const gatewaysPerTarget = 2;
/** Another one than inside a target: the clients of one cluster must not all have one endpoint. */
const clusterSeed = 0x2545f491;

/** One connection to be carried, or one request. */
export interface Wanted {
  readonly port: number;
  /** What `consistentHash` goes by: the client's address without its port, or what the policy names instead. */
  readonly source: string | undefined;
}

/** What is asked of the gateway at the other end of a tunnel; undefined: only endpoints of this cluster will do. */
export type Onward = ConnectRequest | undefined;

/**
 * Everywhere a client's connection may go, in the order of the shares. What is known to be out comes last: it is tried
 * only when all else has failed, since what we know may be old.
 */
export function outboundCandidates(
  context: CandidateContext,
  entry: ServiceEntry,
  wanted: Wanted & { readonly request: ConnectRequest },
): Candidate<Dialled>[] {
  const { port, request } = wanted;
  return placesFor(context, entry, { ...wanted, abroad: true }).map((place) =>
    candidateFor(context, entry, { place, port, onward: request }),
  );
}

/** What a connection from another gateway may reach: endpoints of this cluster, never another gateway. */
export function inboundCandidates(
  context: CandidateContext,
  entry: ServiceEntry,
  wanted: Wanted,
): Candidate<Dialled>[] {
  const { port } = wanted;
  return placesFor(context, entry, { ...wanted, abroad: false }).map((place) =>
    candidateFor(context, entry, { place, port, onward: undefined }),
  );
}

/**
 * The place that a request goes to first, if a connection to it is open already. Costs far less than `placesFor`, which
 * has the last word on what may be dialled. Undefined: nothing that is in use.
 */
export function firstPlace(
  context: CandidateContext,
  entry: ServiceEntry,
  wanted: Wanted & { readonly abroad: boolean },
): Place | undefined {
  const { port, source } = wanted;
  if (!wanted.abroad) return endpoints(context, entry, { port, source, up: true, limit: 1, dialling: false })[0];
  const { order } = entry;
  const drawnFirst = order.draw(drawn(context, entry, source));
  for (let index = 0; index < order.size; index += 1) {
    const target = order.at(drawnFirst, index);
    if (!target) break;
    if (target.cluster === context.self) {
      const [state] = endpoints(context, entry, { port, source, up: true, limit: 1, dialling: false });
      if (state) return state;
    } else if (target.ports.includes(port) && entry.target(target.cluster).ejection.kind === 'in') {
      const [link] = linksTo(context, entry, { cluster: target.cluster, limit: 1 });
      if (link && link.reach !== 'down') return link;
    }
  }
  return undefined;
}

/** Every place that may serve, in the order to be tried; those that are known to be out come last. */
export function placesFor(
  context: CandidateContext,
  entry: ServiceEntry,
  { port, source, abroad }: Wanted & { readonly abroad: boolean },
): Place[] {
  const own = (up: boolean): EndpointState[] =>
    endpoints(context, entry, { port, source, up, limit: endpointsPerTarget, dialling: true });
  if (!abroad) return [...own(true), ...own(false)].slice(0, context.limits.attempts);
  const first: Place[] = [];
  const last: Place[] = [];
  const { order } = entry;
  const drawnFirst = order.draw(drawn(context, entry, source));
  for (let index = 0; index < order.size; index += 1) {
    const target = order.at(drawnFirst, index);
    if (!target) break;
    if (target.cluster === context.self) {
      first.push(...own(true));
      last.push(...own(false));
      continue;
    }
    if (!target.ports.includes(port)) continue;
    const ejected = entry.target(target.cluster).ejection.kind === 'out';
    for (const link of linksTo(context, entry, { cluster: target.cluster, limit: gatewaysPerTarget })) {
      (ejected || link.reach === 'down' ? last : first).push(link);
    }
  }
  return [...first, ...last].slice(0, context.limits.attempts);
}

/** How one place is reached. */
export function candidateFor(
  context: CandidateContext,
  entry: ServiceEntry,
  { place, port, onward }: { readonly place: Place; readonly port: number; readonly onward: Onward },
): Candidate<Dialled> {
  if (!(place instanceof Link)) return localCandidate(context, entry, { state: place, port: portOf(place, port) });
  if (!onward) throw new IsthmusError('internal', 'What came from another gateway must not go to a third one');
  return remoteCandidate(context, entry, { link: place, request: onward, wait: place.reach === 'down' });
}

/** Which cluster comes first: by lot, or always the same one for the same client where the policy wants that. */
function drawn(context: CandidateContext, entry: ServiceEntry, source: string | undefined): number {
  const sticky = entry.loadBalancing.algorithm === 'consistentHash' && source !== undefined;
  return sticky ? hash32(source, clusterSeed) / 2 ** 32 : context.random();
}

function linksTo(
  context: CandidateContext,
  entry: ServiceEntry,
  { cluster, limit }: { readonly cluster: ClusterName; readonly limit: number },
): readonly Link[] {
  const { load } = entry.target(cluster);
  const now = context.now();
  return context.pool.links(cluster, { limit, loadOf: (instance) => load.of(instance, now) });
}

interface EndpointWish extends Wanted {
  readonly up: boolean;
  readonly limit: number;
  /** Leaves out what leads back here. */
  readonly dialling: boolean;
}

function endpoints(
  context: CandidateContext,
  entry: ServiceEntry,
  { port, source, up, limit, dialling }: EndpointWish,
): EndpointState[] {
  const { local, now, random } = context;
  const { panic } = entry.result;
  return entry.choose(port, {
    // What its source calls not ready is never used; what only failed here may be, at last.
    usable: (state) =>
      // So much is bad that the few good ones would be the next to fall (policy.md, "Panic").
      (panic ? up : state.endpoint.ready && (state.ejection.kind === 'in') === up) &&
      !(dialling && local.isOwn(state.endpoint.address, portOf(state, port))),
    limit,
    now: now(),
    random,
    source,
  });
}

/** 0: it does not serve that port. */
function portOf({ endpoint }: EndpointState, port: number): number {
  return endpoint.ports.get(port) ?? 0;
}
