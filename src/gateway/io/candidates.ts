import type { LocalEndpoint } from '../../model/route.ts';
import type { ConnectRequest } from '../../wire/connect.ts';
import { leastOfTwo, targetOrder } from '../balance/order.ts';
import type { Candidate } from '../balance/race.ts';
import type { EndpointState, ServiceEntry } from '../balance/service-entry.ts';
import { type DialContext, type Dialled, localCandidate, remoteCandidate } from './dial.ts';
import type { SessionPool } from './pool.ts';

export interface CandidateContext extends DialContext {
  readonly pool: SessionPool;
  readonly random: () => number;
  /** Candidates of one connection. */
  readonly attempts: number;
  /** Whether dialling it would come back to this very gateway. */
  readonly isOwnListener: (address: string, port: number) => boolean;
}

/** Inside one target, so that others get their turn. */
const endpointsPerTarget = 3;
const gatewaysPerTarget = 2;

/**
 * Everywhere a client's connection may go, in the order of the shares. What is known to be out comes last: it is tried
 * only when all else has failed, since what we know may be old.
 */
export function outboundCandidates(
  context: CandidateContext,
  entry: ServiceEntry,
  request: ConnectRequest,
): Candidate<Dialled>[] {
  const first: Candidate<Dialled>[] = [];
  const last: Candidate<Dialled>[] = [];
  for (const target of targetOrder(entry.route.targets, entry.result.shares, context.random())) {
    if (target.cluster === context.self) {
      first.push(...endpointCandidates(context, entry, { port: request.port, up: true }));
      last.push(...endpointCandidates(context, entry, { port: request.port, up: false }));
      continue;
    }
    if (!target.ports.includes(request.port)) continue;
    const ejected = entry.target(target.cluster).ejection.kind === 'out';
    for (const link of context.pool.links(target.cluster, gatewaysPerTarget)) {
      const lost = link.reach === 'down';
      (lost || ejected ? last : first).push(remoteCandidate(context, entry, { link, request, wait: lost }));
    }
  }
  return [...first, ...last].slice(0, context.attempts);
}

/** What a connection from another gateway may reach: endpoints of this cluster, never another gateway. */
export function inboundCandidates(context: CandidateContext, entry: ServiceEntry, port: number): Candidate<Dialled>[] {
  const up = endpointCandidates(context, entry, { port, up: true });
  const out = endpointCandidates(context, entry, { port, up: false });
  return [...up, ...out].slice(0, context.attempts);
}

function endpointCandidates(
  context: CandidateContext,
  entry: ServiceEntry,
  { port, up }: { readonly port: number; readonly up: boolean },
): Candidate<Dialled>[] {
  const usable: { state: EndpointState; port: number }[] = [];
  for (const state of entry.endpoints.values()) {
    const own = instancePort(state.endpoint, port);
    // What its source calls not ready is never used; what only failed here may be, at last.
    if (own === undefined || !state.endpoint.ready || (state.ejection.kind === 'in') !== up) continue;
    if (!context.isOwnListener(state.endpoint.address, own)) usable.push({ state, port: own });
  }
  const order = leastOfTwo(usable, ({ state }) => state.active, {
    random: context.random,
    limit: endpointsPerTarget,
  });
  return order.map((choice) => localCandidate(context, entry, choice));
}

function instancePort(endpoint: LocalEndpoint, servicePort: number): number | undefined {
  return endpoint.ports.get(servicePort);
}
