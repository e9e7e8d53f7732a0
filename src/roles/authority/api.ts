import { readFile } from 'node:fs/promises';
import type { AuthorityApi } from '../../admin/authority-api.ts';
import type { AuthorityConfig } from '../../config/authority.ts';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { AuthorityStatus, ClusterRow, DependencyStatus } from '../../model/status.ts';
import type { RosterEntry } from '../../model/trust.ts';
import { writeFileDurably } from '../../runtime/io/files.ts';
import { broadGlobs, defaultAdmission } from '../../trust/authority/admission.ts';
import type { Authority, AuthorityStatus as TrustStatus } from '../../trust/io/authority.ts';
import { acknowledgedRows } from './acknowledged.ts';
import { version } from '../version.ts';
import type { MemberHubs } from './member-hubs.ts';

/** Records of the journal in one answer. */
const auditPage = 500;
/** Intermediates in one answer; more are in the database. */
const inventoryRows = 10_000;
/** An identity of which so little is left is worth a warning, in ms. */
const soonMs = 10 * 86_400_000;

export interface AuthorityApiContext {
  readonly config: AuthorityConfig;
  readonly clock: Clock;
  /** Undefined: there is no hub. */
  readonly hubName: string | undefined;
  readonly startedAt: number;
  /** Why bundles are served with an old certificate; undefined: they are not, or not served. */
  readonly bundleProblem: () => string | undefined;
  readonly hubs: Pick<MemberHubs, 'lineFor' | 'expel'>;
  readonly log: Log;
  /** `host:port`, as join tokens name them. */
  readonly addresses: readonly string[];
}

/** What the authority answers on its admin socket. */
export function createAuthorityApi(authority: Authority, context: AuthorityApiContext): AuthorityApi {
  const { addresses, clock } = context;
  return {
    status: () => statusOf(authority.status(), context),
    clusters: () => [...authority.roster.current.clusters.values()].map(rowOf),
    async issueClusterToken({ cluster, ttlMs, rejoin, admission }) {
      const issued = await authority.issueToken({
        cluster,
        addresses,
        rejoin,
        admission,
        ...(ttlMs !== undefined && { ttlMs }),
      });
      const known = authority.roster.current.clusters.get(cluster);
      const exportable = admission.exportable ?? known?.exportable ?? defaultAdmission.exportable;
      const hubUserLine = context.hubs.lineFor(cluster);
      const line = hubUserLine !== undefined && { hubUserLine };
      return { ...issued, warnings: exportWarnings(cluster, exportable), ...line };
    },
    tokens: () => authority.tokens(),
    revokeToken: (id, why) => authority.revokeToken(id, why),
    async setClusterState(cluster, state, why) {
      await authority.setClusterState(cluster, state, why);
      if (state === 'revoked') await expel(authority, cluster, context);
    },
    async admit(cluster, admission, why) {
      // What is said of labels is added to those that are there; an empty value takes one away.
      const labels = admission.labels && mergedLabels(authority, cluster, admission.labels);
      await authority.admit(cluster, { ...admission, ...(labels && { labels }) }, why);
    },
    async audit(after) {
      const records = await authority.journal(after, auditPage);
      const last = records.at(-1);
      return { records, ...(last && records.length === auditPage && { next: last.sequence }) };
    },
    async auditVerdict() {
      const { records, head, lastAt, problem } = await authority.journalState();
      const known = records > 0 && { head, lastAt };
      return { ok: problem === undefined, records, ...known, ...(problem !== undefined && { problem }) };
    },
    inventory: () => authority.inventory(inventoryRows),
    pending: () => authority.pending(),
    acknowledgements: () => acknowledgedRows(authority.acknowledgements(), clock.now()),
    async signRequest(out) {
      const { file, sha256, items } = await authority.signRequest();
      await writeFileDurably(out, file);
      return { file: out, sha256, items };
    },
    importResponse: async (file) => authority.importResponse(await readInput(file)),
    backup: (request) => authority.backup(request),
    acceptClock: (why) => authority.acceptClock(why),
  };
}

/** It is out of the federation already; its Redis users are only a courtesy to the hub. */
async function expel(
  authority: Authority,
  cluster: RosterEntry['cluster'],
  { hubs, log }: AuthorityApiContext,
): Promise<void> {
  try {
    const issued = await authority.inventory(inventoryRows);
    await hubs.expel(cluster, new Set(issued.filter((each) => each.cluster === cluster).map(({ replica }) => replica)));
  } catch (thrown) {
    log.warn({ cluster, reason: messageOf(thrown) }, 'cannot take away the Redis users of a revoked cluster');
  }
}

async function readInput(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new IsthmusError('invalid', `Cannot read ${file}`, { cause });
  }
}

function exportWarnings(cluster: string, exportable: readonly string[]): readonly string[] {
  const broad = broadGlobs(exportable);
  if (broad.length === 0) return [];
  return [`${cluster} may export services of every namespace (${broad.join(', ')}), also those of other clusters`];
}

function mergedLabels(
  authority: Authority,
  cluster: RosterEntry['cluster'],
  labels: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const present = authority.roster.current.clusters.get(cluster)?.labels ?? {};
  return Object.fromEntries(Object.entries({ ...present, ...labels }).filter(([, value]) => value !== ''));
}

function statusOf(status: TrustStatus, context: AuthorityApiContext): AuthorityStatus {
  const { clock, startedAt, addresses, hubName = '' } = context;
  const count = (state: RosterEntry['state']): number => status.clusters.filter((each) => each.state === state).length;
  const hub: DependencyStatus | undefined = status.hub && {
    name: hubName,
    connected: status.hub.problem === undefined,
    forMs: clock.monotonic() - status.hub.since,
    ...(status.hub.problem !== undefined && { lastError: status.hub.problem }),
  };
  return {
    kind: 'authority',
    federationDomain: status.federationDomain,
    version,
    uptimeMs: clock.monotonic() - startedAt,
    addresses,
    rosterSequence: status.rosterSequence,
    clusters: { active: count('active'), suspended: count('suspended'), revoked: count('revoked') },
    openTokens: status.openTokens,
    offlineRoot: status.offlineRoot,
    pending: status.pending,
    watchers: status.watchers,
    rootExpiresInMs: status.rootNotAfter - clock.now(),
    ...(hub && { hub }),
    waitingFor: waitingFor(status, hub),
    warnings: [...warningsOf(status, clock.now()), ...bundleWarnings(context.bundleProblem())],
  };
}

function waitingFor(status: TrustStatus, hub: DependencyStatus | undefined): readonly string[] {
  return [
    ...(status.problem === undefined ? [] : [`its state: ${status.problem}`]),
    ...(status.identityNotAfter === undefined
      ? [`the root's signature for its own identities ('isthmus authority sign-request')`]
      : []),
    ...(hub && !hub.connected ? [`hub ${hub.name}: ${hub.lastError ?? 'not connected'}`] : []),
  ];
}

function warningsOf(status: TrustStatus, now: number): readonly string[] {
  const { identityNotAfter, sealNotAfter, rootNotAfter, offlineRoot, pending } = status;
  const ends = [
    ['its TLS identity', identityNotAfter],
    ['its seal leaf', sealNotAfter],
    ['the root', rootNotAfter],
  ] as const;
  const soon = ends.filter(([, at]) => at !== undefined && at - now < soonMs);
  return [
    ...soon.map(([what, at = now]) => `${what} ends within ${Math.max(0, Math.ceil((at - now) / 86_400_000))} days`),
    ...(offlineRoot && identityNotAfter !== undefined && pending > 0
      ? [`${pending} certificates wait for the offline root`]
      : []),
  ];
}

function bundleWarnings(problem: string | undefined): readonly string[] {
  return problem === undefined ? [] : [`bundles are served with an old certificate: ${problem}`];
}

function rowOf(entry: RosterEntry): ClusterRow {
  const { cluster, state, trustDomain, labels, exportable, mayPublishPolicy, mayOperate, leaving } = entry;
  return {
    cluster,
    self: false,
    state,
    freshness: 'unknown',
    trustDomain,
    services: 0,
    gateways: 0,
    labels,
    exportable,
    ...(mayPublishPolicy && { mayPublishPolicy }),
    ...(mayOperate && { mayOperate }),
    ...(leaving && { message: 'is leaving' }),
  };
}
