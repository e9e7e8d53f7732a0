import type { AgentApi } from '../../admin/agent-api.ts';
import type { AgentConfig } from '../../config/agent.ts';
import type { FederationEvent } from '../../federation/event-list.ts';
import { IsthmusError } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { AgentStatus, DependencyStatus, EventRow } from '../../model/status.ts';
import type { BundleReport } from '../../model/trust-report.ts';
import type { Freshness } from '../../model/view.ts';
import { formatHostPort } from '../../model/address.ts';
import { trustDomainOf } from '../../model/identity.ts';
import { unratedSpills } from '../../policy/plan.ts';
import { unseenWarnings } from '../../policy/unseen.ts';
import { bundleDetail, bundleRow } from '../../trust/bundle/describe.ts';
import type { BundleStore } from '../../trust/io/bundle-store.ts';
import { version } from '../version.ts';
import { goodbye, leave } from './leave.ts';
import type { RunningAgent } from './running.ts';
import { explain } from './status/explain.ts';
import { exportWarnings } from './status/exports.ts';
import type { AgentFacts } from './status/facts.ts';
import { clusterRows, gatewayRows, linkRows } from './status/members.ts';
import { serviceDetail, serviceRows } from './status/services.ts';
import { trustStatus } from './status/trust.ts';

export interface AgentApiContext {
  readonly config: AgentConfig;
  readonly hubName: () => string;
  readonly clock: Clock;
  readonly startedAt: number;
  /** Where gateways reach this agent. */
  readonly addresses: () => readonly string[];
  readonly running: () => RunningAgent | undefined;
  /** What the start still waits for; undefined once it runs. */
  readonly waitingFor: () => string | undefined;
  /** The cluster has left the federation: the agent is to stop. */
  readonly onLeft: () => void;
}

/** Answers of the admin API, at any phase of an agent's life. */
export function createAgentApi(context: AgentApiContext): AgentApi {
  const { config, clock, running } = context;
  const facts = (): AgentFacts => factsOf(config, running(), clock.now());
  return {
    status: () => agentStatus(context),
    clusters: () => clusterRows(facts()),
    links: () => linkRows(facts()),
    services: () => serviceRows(facts()),
    service(key) {
      const agent = running();
      return agent && serviceDetail(facts(), key, agent.rates);
    },
    gateways: () => gatewayRows(facts()),
    explain({ from, identity, service, port, request }) {
      if (from !== undefined && from !== config.cluster) {
        throw new IsthmusError('invalid', `This is the agent of ${config.cluster}: it cannot explain for '${from}'`, {
          hint: `Ask the agent of ${from}: --server <its admin socket>`,
        });
      }
      const domain = running()?.ca.trustDomain;
      if (identity !== undefined && domain !== undefined && trustDomainOf(identity) !== domain) {
        throw new IsthmusError(
          'invalid',
          `'${identity}' is no identity of ${config.cluster}, whose trust domain is ${domain}`,
          {
            hint: 'Ask the agent of its own cluster',
          },
        );
      }
      return explain(facts(), { service, port, identity, request });
    },
    trustStatus() {
      const agent = running();
      if (!agent)
        throw new IsthmusError('unavailable', `There is no identity yet: waiting for ${context.waitingFor()}`);
      const { ca, acknowledgements, reader } = agent;
      const partitions = reader.partitions.current;
      return trustStatus({ ca, acknowledgements, partitions, now: clock.now(), monotonic: clock.monotonic() });
    },
    bundles: () => bundleReport(running()?.bundles),
    bundle(domain) {
      const bundle = running()?.bundles.bundles.current.get(domain);
      return bundle && bundleDetail(bundle);
    },
    events: () => eventRows(running()?.events.list() ?? [], clock.now()),
    acceptHeld(cluster) {
      const agent = required(context);
      if (cluster !== config.cluster) return { cluster, exports: agent.reader.acceptHeld(cluster) };
      const publisher = agent.publisher();
      if (publisher) return { cluster, exports: publisher.acceptHeld() };
      throw new IsthmusError('unavailable', 'This replica does not lead, so it holds nothing back', {
        hint: 'Ask the replica that leads: isthmus status tells',
      });
    },
    async leave(request) {
      const agent = required(context);
      const report = await leave(agent, request, clock);
      const stillMember = request.keepMembership ? 'as asked' : await goodbye(agent);
      context.onLeft();
      return { ...report, ...(stillMember !== undefined && { stillMember }) };
    },
    issueGatewayToken({ gateway, ttlMs }) {
      const agent = running();
      if (!agent) throw new IsthmusError('unavailable', `Not ready to issue: waiting for ${context.waitingFor()}`);
      return agent.ca.issueGatewayToken({
        gateway,
        addresses: context.addresses(),
        ...(ttlMs !== undefined && { ttlMs }),
      });
    },
  };
}

function required({ running, waitingFor: waits }: AgentApiContext): RunningAgent {
  const agent = running();
  if (agent) return agent;
  throw new IsthmusError('unavailable', `The agent is not up: waiting for ${waits() ?? 'its start'}`);
}

function eventRows(events: readonly FederationEvent[], now: number): readonly EventRow[] {
  return events.map(({ cluster, kind, detail, count, firstAt, at }) => ({
    cluster,
    kind,
    detail,
    count,
    firstAgoMs: Math.max(0, now - firstAt),
    agoMs: Math.max(0, now - at),
  }));
}

function bundleReport(store: BundleStore | undefined): BundleReport {
  const { older, conflicting, refused: unverified } = store?.counters ?? { older: 0, conflicting: 0, refused: 0 };
  return {
    bundles: [...(store?.bundles.current.values() ?? [])].map(bundleRow),
    refused: { older, conflicting, unverified },
    ...(store?.problem !== undefined && { problem: store.problem }),
  };
}

/** Everything that answers are made of. */
export function factsOf(config: AgentConfig, agent: RunningAgent | undefined, now: number): AgentFacts {
  const self = config.cluster;
  const input = agent?.mesh.input;
  return {
    self,
    now,
    view: agent?.mesh.view.current ?? { self, revision: 0, clusters: new Map(), services: new Map() },
    roster: agent?.ca.trust.current?.roster,
    table: agent?.mesh.table.current ?? { self, services: new Map(), clusters: new Map() },
    tableDigest: agent?.gateways.digest() ?? '',
    gateways: [...(agent?.gateways.gateways.current.values() ?? [])].map((gateway) => ({
      instance: gateway.instance,
      address: gateway.advert.addresses.map(({ address, port }) => formatHostPort({ host: address, port })).join(','),
      connectedAt: gateway.connectedAt,
      ackedDigest: gateway.ackedDigest,
      report: gateway.report,
    })),
    ...(agent && input && { policy: { input, policiesAt: (cluster) => agent.desk.policiesAt(cluster) } }),
  };
}

function agentStatus(context: AgentApiContext): AgentStatus {
  const { config, clock } = context;
  const agent = context.running();
  const facts = factsOf(config, agent, clock.now());
  const hub = hubStatus(context, agent);
  const authority = authorityStatus(context, agent);
  return {
    kind: 'agent',
    cluster: config.cluster,
    ...(agent && { federationDomain: agent.ca.federationDomain }),
    replica: config.replica,
    leader: agent?.publisher() !== undefined,
    version,
    uptimeMs: clock.monotonic() - context.startedAt,
    hub,
    authority,
    identity: identityStatus(agent, clock.now()),
    publisher: publisherStatus(agent, clock.now()),
    members: memberCounts(facts),
    gateways: {
      connected: facts.gateways.length,
      ready: facts.gateways.filter(({ report }) => report?.ready).length,
    },
    services: {
      exported: agent ? [...agent.source.current.services.values()].filter((service) => service.exported).length : 0,
      imported: facts.table.services.size,
    },
    waitingFor: waitingFor(context, agent, hub),
    warnings: warnings(agent, authority),
  };
}

function hubStatus(context: AgentApiContext, agent: RunningAgent | undefined): DependencyStatus {
  const status = agent?.reader.hubStatus.current;
  if (!status) return { name: context.hubName(), connected: false, forMs: 0 };
  return {
    name: status.name,
    connected: status.connected,
    forMs: Math.max(0, context.clock.now() - status.since),
    ...(status.lastError !== undefined && { lastError: status.lastError }),
  };
}

function authorityStatus(context: AgentApiContext, agent: RunningAgent | undefined): AgentStatus['authority'] {
  const name = context.config.authority.map(formatHostPort).join(',') || 'as the join token said';
  if (!agent) return { name, connected: false, forMs: 0 };
  const { authority, rosterSequence, rosterIssuedAt } = agent.ca.status();
  return {
    name,
    connected: authority.connected,
    forMs: Math.max(0, context.clock.monotonic() - authority.since),
    ...(authority.problem !== undefined && { lastError: authority.problem }),
    ...(rosterSequence > 0 && {
      rosterSequence,
      rosterAgeMs: Math.max(0, context.clock.now() - rosterIssuedAt),
    }),
  };
}

function identityStatus(agent: RunningAgent | undefined, now: number): AgentStatus['identity'] {
  if (!agent) return {};
  const { intermediateNotAfter, agentSvidNotAfter, sealNotAfter } = agent.ca.status();
  return {
    intermediateExpiresInMs: intermediateNotAfter - now,
    ...(agentSvidNotAfter !== undefined && { agentExpiresInMs: agentSvidNotAfter - now }),
    ...(sealNotAfter !== undefined && { sealExpiresInMs: sealNotAfter - now }),
  };
}

function publisherStatus(agent: RunningAgent | undefined, now: number): AgentStatus['publisher'] {
  const status = agent?.publisher()?.status.current;
  // A standby has nothing to write.
  if (!status) return { pending: agent === undefined };
  const problems = [
    ...(status.state === 'superseded' ? ['a newer writer of this cluster was seen; this one has stopped'] : []),
    ...(status.lastError !== undefined ? [status.lastError] : []),
    ...[...status.refused].map(([key, why]) => `${key}: ${why}`),
    ...(status.heldBack.size > 0
      ? [`${status.heldBack.size} exports would go at once; they stay until 'isthmus hub accept' confirms it`]
      : []),
  ];
  return {
    ...(status.epoch > 0 && { epoch: status.epoch, revision: status.revision }),
    pending: !status.settled,
    ...(status.state === 'publishing' && { committedAgoMs: Math.max(0, now - status.since) }),
    ...(problems.length > 0 && { problem: problems.join('; ') }),
    ...(status.heldBack.size > 0 && { heldBack: status.heldBack.size }),
  };
}

function memberCounts(facts: AgentFacts): AgentStatus['members'] {
  const counts: Record<Freshness, number> = { live: 0, suspect: 0, dead: 0, unknown: 0 };
  for (const row of clusterRows(facts)) if (row.state === 'active') counts[row.freshness] += 1;
  return counts;
}

function waitingFor(context: AgentApiContext, agent: RunningAgent | undefined, hub: DependencyStatus): string[] {
  if (!agent) return [context.waitingFor() ?? 'its start'];
  const waits: string[] = [];
  if (!agent.ca.trust.current) waits.push('the roster of the authority');
  if (!agent.ca.agentSvid.current)
    waits.push(`an identity of its own: ${ownIdentityProblem(agent, context.clock.now())}`);
  if (!hub.connected) waits.push(`the hub ${hub.name}${hub.lastError === undefined ? '' : `: ${hub.lastError}`}`);
  const writer = agent.publisher()?.status.current;
  if (writer?.state === 'waiting') waits.push(writer.waitingFor ?? 'a first write to the hub');
  if (!writer && !agent.mesh.table.current) waits.push('the leading replica to be heard of');
  if (!agent.source.current.synced) waits.push('the first health check of its services');
  return waits;
}

function ownIdentityProblem({ ca }: RunningAgent, now: number): string {
  const { intermediateNotAfter, renewalProblem } = ca.status();
  const expired = intermediateNotAfter <= now;
  const end = `its intermediate expired at ${new Date(intermediateNotAfter).toISOString()}`;
  return (
    [...(expired ? [end] : []), ...(renewalProblem === undefined ? [] : [renewalProblem])].join('; ') || 'none yet'
  );
}

function warnings(agent: RunningAgent | undefined, authority: AgentStatus['authority']): string[] {
  if (!agent) return [];
  const found: string[] = [];
  if (!authority.connected) {
    found.push(`the authority is not reachable (${authority.lastError ?? 'no answer'}): everything runs on without it`);
  }
  if (agent.gateways.gateways.current.size === 0) found.push('no gateway is connected: nothing is carried');
  const { renewalProblem, clockProblem } = agent.ca.status();
  if (renewalProblem !== undefined) found.push(`the intermediate could not be renewed: ${renewalProblem}`);
  if (clockProblem !== undefined) found.push(`nothing is signed for gateways and workloads: ${clockProblem}`);
  for (const [cluster, { problem }] of agent.reader.partitions.current) {
    if (problem !== undefined) found.push(`${cluster}: ${problem}`);
  }
  const { input } = agent.mesh;
  const unrated = input ? unratedSpills(input) : [];
  if (unrated.length > 0) {
    found.push(`failover.spillAt is inactive for some clusters of ${someOf(new Set(unrated))}: no capacity.concurrent`);
  }
  if (input) found.push(...unseenWarnings(input.policies?.policies ?? [], input.view));
  found.push(...agent.desk.problems, ...agent.policyFiles.problems.map((problem) => `policy file: ${problem}`));
  found.push(...exportWarnings(agent.mesh.view.current, agent.ca.cluster));
  const { problem } = agent.services;
  if (problem !== undefined) found.push(...problem.split('\n'));
  const { exhausted } = agent.importPorts;
  if (exhausted.size > 0) {
    found.push(`no import port left for ${someOf(exhausted)}: widen importPorts`);
  }
  return found;
}

/** Names of a warning: the first few, and how many more. */
function someOf(names: ReadonlySet<string>): string {
  const shown = [...names].slice(0, 5).join(', ');
  return names.size > 5 ? `${shown} and ${names.size - 5} more` : shown;
}
