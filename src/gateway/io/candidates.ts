import type { ConnectRequest } from '../../wire/connect.ts';
import { hash32 } from '../balance/choice/hash.ts';
import type { Candidate } from '../balance/race.ts';
import type { EndpointState, ServiceEntry } from '../balance/service-entry.ts';
import { type DialContext, type Dialled, localCandidate, remoteCandidate } from './dial.ts';
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

/** One connection to be carried. */
export interface Wanted {
  readonly port: number;
  /** The client's address without its port. */
  readonly source: string | undefined;
}

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
  const first: Candidate<Dialled>[] = [];
  const last: Candidate<Dialled>[] = [];
  const { order } = entry;
  const drawnFirst = order.draw(drawn(context, entry, wanted.source));
  for (let index = 0; index < order.size; index += 1) {
    const target = order.at(drawnFirst, index);
    if (!target) break;
    if (target.cluster === context.self) {
      first.push(...endpointCandidates(context, entry, { ...wanted, up: true }));
      last.push(...endpointCandidates(context, entry, { ...wanted, up: false }));
      continue;
    }
    if (!target.ports.includes(port)) continue;
    const { ejection, load } = entry.target(target.cluster);
    const ejected = ejection.kind === 'out';
    const now = context.now();
    for (const link of context.pool.links(target.cluster, {
      limit: gatewaysPerTarget,
      loadOf: (instance) => load.of(instance, now),
    })) {
      const lost = link.reach === 'down';
      (lost || ejected ? last : first).push(remoteCandidate(context, entry, { link, request, wait: lost }));
    }
  }
  return [...first, ...last].slice(0, context.limits.attempts);
}

/** What a connection from another gateway may reach: endpoints of this cluster, never another gateway. */
export function inboundCandidates(
  context: CandidateContext,
  entry: ServiceEntry,
  wanted: Wanted,
): Candidate<Dialled>[] {
  const up = endpointCandidates(context, entry, { ...wanted, up: true });
  const out = endpointCandidates(context, entry, { ...wanted, up: false });
  return [...up, ...out].slice(0, context.limits.attempts);
}

/** Which cluster comes first: by lot, or always the same one for the same client where the policy wants that. */
function drawn(context: CandidateContext, entry: ServiceEntry, source: string | undefined): number {
  const sticky = entry.loadBalancing.algorithm === 'consistentHash' && source !== undefined;
  return sticky ? hash32(source, clusterSeed) / 2 ** 32 : context.random();
}

function endpointCandidates(
  context: CandidateContext,
  entry: ServiceEntry,
  { port, source, up }: Wanted & { readonly up: boolean },
): Candidate<Dialled>[] {
  const { local, now, random } = context;
  const portOf = (state: EndpointState): number => state.endpoint.ports.get(port) ?? 0;
  const { panic } = entry.result;
  const order = entry.choose(port, {
    // What its source calls not ready is never used; what only failed here may be, at last.
    usable: (state) =>
      // So much is bad that the few good ones would be the next to fall (policy.md, "Panic").
      (panic ? up : state.endpoint.ready && (state.ejection.kind === 'in') === up) &&
      !local.isOwn(state.endpoint.address, portOf(state)),
    limit: endpointsPerTarget,
    now: now(),
    random,
    source,
  });
  return order.map((state) => localCandidate(context, entry, { state, port: portOf(state) }));
}
