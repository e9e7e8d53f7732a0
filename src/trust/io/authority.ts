import { IsthmusError, messageOf } from '../../model/error.ts';
import { formatHostPort } from '../../model/address.ts';
import type { TrustDomain } from '../../model/identity.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Hub } from '../../model/ports/hub.ts';
import type { TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { Admission, MemberHub, Roster, RosterEntry } from '../../model/trust.ts';
import type { BackupReport, IntermediateRow, PendingRow, TokenRow } from '../../model/trust-report.ts';
import type { ListenAddress } from '../../runtime/io/tcp-server.ts';
import type { AuditRecord } from '../audit.ts';
import type { HeardAck } from '../authority/acknowledgements.ts';
import { type SealedRoster, sealRosters } from '../authority/roster-sealer.ts';
import { sealBundles } from '../bundle/bundle-sealer.ts';
import type { RequestLimits } from '../issue/request-limiter.ts';
import { fingerprintOf, readCertificate } from '../x509/read.ts';
import { AuthorityAcks } from './authority-acks.ts';
import { writeBackup } from './authority-backup.ts';
import { type HubPublisher, publishToHub } from './authority-hub.ts';
import { AuthorityIssuance, authorityLimits } from './authority-issuance.ts';
import { authorityFiles } from './authority-files.ts';
import { openAuthorityKeys } from './authority-keys.ts';
import { AuthorityLedger, type JournalState } from './authority-ledger.ts';
import { AuthorityMembers } from './authority-members.ts';
import { type ImportResult, OfflineRoot, type SignRequest } from './authority-offline.ts';
import { Refusals } from './authority-refusals.ts';
import { OwnIdentities } from './authority-self.ts';
import { serveAuthority } from './authority-service.ts';
import { AuthorityTokens, type IssuedToken } from './authority-tokens.ts';
import type { ScryptCost } from './key-vault.ts';

export { initAuthority } from './authority-init.ts';

/** Whoever has the admin socket, as the journal names it. */
const operator = 'operator';

export interface OpenAuthorityOptions {
  readonly stateDir: string;
  readonly listen: ListenAddress;
  /** Default: `<stateDir>/passphrase`. */
  readonly passphraseFile?: string;
  readonly clock: Clock;
  /** Ms since an arbitrary start, the sleep of the machine included. Default: the monotonic clock. */
  readonly elapsedMs?: () => number;
  readonly log: Log;
  /** Keep the roster in this hub too. Not closed here. */
  readonly hub?: Hub;
  /** Where a replica that joins finds the hub; default: it is told by its own configuration. */
  readonly hubFor?: (cluster: ClusterName, replica: ReplicaName) => Promise<MemberHub | undefined>;
  /** Default true; some TLS libraries reject every chain with URI constraints. */
  readonly nameConstraints?: boolean;
  /** Life of intermediates in ms; default 60 days. */
  readonly intermediateLifeMs?: number;
  /** Default `authorityLimits`. */
  readonly limits?: RequestLimits;
}

export interface TokenRequest {
  readonly cluster: ClusterName;
  /** Default and at most 15 minutes. */
  readonly ttlMs?: number;
  /** `host:port`; default: where the authority listens. */
  readonly addresses?: readonly string[];
  /** For a replica that lost its disk. */
  readonly rejoin?: boolean;
  /** What the cluster is admitted for; what is left out stays as it is. */
  readonly admission?: Partial<Admission>;
}

export interface BackupRequest {
  /** Does not exist yet. */
  readonly out: string;
  /** Default: the authority's own passphrase. */
  readonly passphraseFile?: string;
  /** For demonstrations and tests only. */
  readonly scryptCost?: ScryptCost;
}

export interface AuthorityStatus {
  readonly federationDomain: TrustDomain;
  readonly rootSha256: string;
  /** Wall clock in ms. */
  readonly rootNotAfter: number;
  /** The root signs by file. */
  readonly offlineRoot: boolean;
  readonly rosterSequence: number;
  /** Wall clock in ms. */
  readonly rosterIssuedAt: number;
  /** Undefined: it has none that is valid, and nobody can reach it. */
  readonly identityNotAfter: number | undefined;
  readonly sealNotAfter: number | undefined;
  readonly clusters: readonly {
    readonly name: ClusterName;
    readonly state: RosterEntry['state'];
    readonly keys: number;
  }[];
  /** Tokens that can still be redeemed. */
  readonly openTokens: number;
  /** Certificates that wait for an offline root. */
  readonly pending: number;
  /** Agents that hold a roster stream. */
  readonly watchers: number;
  /** Undefined: there is no hub. `problem`: why it does not hold the present roster. `since`: monotonic ms. */
  readonly hub: { readonly problem: string | undefined; readonly since: number } | undefined;
  /** Why nothing can be decided; undefined: it can. */
  readonly problem: string | undefined;
}

/** A running authority. */
export interface Authority {
  readonly port: number;
  readonly federationDomain: TrustDomain;
  readonly roster: Watch<Roster>;
  /** Undefined while an offline root has not signed the authority's own identities. */
  readonly sealedRoster: Watch<SealedRoster | undefined>;
  /** Roster and anchors together, as the bundles are made of. */
  readonly trust: TrustSource;
  /** @throws IsthmusError `invalid`, `denied` */
  issueToken(request: TokenRequest): Promise<IssuedToken>;
  /** @throws IsthmusError `not-found`, `conflict` */
  revokeToken(id: string, why: string): Promise<void>;
  tokens(): readonly TokenRow[];
  /** Suspends, revokes or readmits a member, at once and durably. @throws IsthmusError `not-found`, `conflict` */
  setClusterState(cluster: ClusterName, state: RosterEntry['state'], why: string): Promise<void>;
  /** Changes what a member is admitted for. @throws IsthmusError `not-found`, `invalid` */
  admit(cluster: ClusterName, admission: Partial<Admission>, why: string): Promise<void>;
  /** Part of the audit journal, oldest first. */
  journal(after: number, limit: number): Promise<readonly AuditRecord[]>;
  /** Reads and checks all of the journal. */
  journalState(): Promise<JournalState>;
  /** Intermediates that were issued, the newest first. */
  inventory(limit: number): Promise<readonly IntermediateRow[]>;
  /** What every replica that is heard of presents and trusts. */
  acknowledgements(): ReadonlyMap<ClusterName, readonly HeardAck[]>;
  /** What waits for an offline root. */
  pending(): Promise<readonly PendingRow[]>;
  /** @throws IsthmusError `conflict` if nothing waits */
  signRequest(): Promise<SignRequest>;
  /** @throws IsthmusError `invalid`, naming the rule */
  importResponse(file: Uint8Array): Promise<ImportResult>;
  /** @throws IsthmusError `conflict`, `unavailable`, `denied` */
  backup(request: BackupRequest): Promise<BackupReport>;
  /** Goes on with a wall clock that jumped. */
  acceptClock(why: string): Promise<void>;
  status(): AuthorityStatus;
  close(): Promise<void>;
}

/**
 * Runs the authority of a state directory.
 * @throws IsthmusError `not-found` before init, `denied` for a wrong passphrase, `conflict` for a port or state in use
 */
export async function openAuthority(options: OpenAuthorityOptions): Promise<Authority> {
  const { stateDir, clock, log, hub, nameConstraints = true, intermediateLifeMs } = options;
  const keys = await openAuthorityKeys(stateDir, options.passphraseFile);
  const { federationDomain, anchor, root } = keys;
  const path = authorityFiles(stateDir).database;
  const { elapsedMs } = options;
  const ledger = await AuthorityLedger.open({ path, federationDomain, anchor, clock, elapsedMs, log });
  const ends: (() => unknown)[] = [() => ledger.close()];
  const close = async (): Promise<void> => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    const refusals = new Refusals({ ledger, clock, log });
    const rootSha256 = fingerprintOf(anchor);
    const tokens = new AuthorityTokens({ ledger, federationDomain, rootSha256, clock });
    const members = new AuthorityMembers({ ledger, refusals, clock });
    const issuance = new AuthorityIssuance({
      ledger,
      refusals,
      root,
      anchor,
      federationDomain,
      clock,
      nameConstraints,
      limits: options.limits ?? authorityLimits,
      ...(intermediateLifeMs !== undefined && { intermediateLifeMs }),
    });
    const acks = new AuthorityAcks({ ledger, refusals, clock });
    ends.push(() => acks.close());
    const offline = new OfflineRoot({ keys, issuance, ledger, nameConstraints, clock });
    const own = await OwnIdentities.open({ keys, clock, log });
    ends.push(() => own.close());
    const seals = sealRosters(ledger.roster, own.sealer);
    ends.push(() => seals.close());
    const bundles = sealBundles(ledger.trust, own.sealer);
    ends.push(() => bundles.close());
    const service = await serveAuthority({
      listen: options.listen,
      issuance,
      members,
      acks,
      ledger,
      sealedRoster: seals.roster,
      material: () => own.material,
      hubFor: options.hubFor ?? (async () => undefined),
      federationDomain,
      anchor,
      clock,
      log,
    });
    ends.push(() => service.close());
    const publisher: HubPublisher | undefined =
      hub && publishToHub({ hub, sealedRoster: seals.roster, sealedBundles: bundles.bundles, clock, log });
    ends.push(() => publisher?.close());
    log.info({ port: service.port, federationDomain }, 'authority is up');
    return {
      port: service.port,
      federationDomain,
      roster: ledger.roster,
      sealedRoster: seals.roster,
      trust: ledger.trust,
      async issueToken(request): Promise<IssuedToken> {
        const addresses = request.addresses ?? [defaultAddress(options.listen.host, service.port)];
        return tokens.issue({ ...request, addresses, who: operator });
      },
      revokeToken: (id, why) => tokens.revoke(id, operator, why),
      tokens: () => tokens.rows(),
      setClusterState: (cluster, state, why) => members.setState(cluster, state, { who: operator, why }),
      admit: (cluster, admission, why) => members.admit(cluster, admission, { who: operator, why }),
      journal: (after, limit) => ledger.journal(after, limit),
      journalState: () => ledger.journalState(),
      inventory: (limit) => inventoryRows(ledger, limit, clock.now()),
      acknowledgements: () => acks.all(),
      pending: () => offline.pending(),
      signRequest: () => offline.request(operator),
      async importResponse(file): Promise<ImportResult> {
        const result = await offline.accept(file, operator);
        await own.refresh();
        return result;
      },
      backup: (request) => backUp(ledger, options, request),
      acceptClock: (why) => ledger.acceptClock(operator, why),
      status: () => ({
        federationDomain,
        rootSha256,
        rootNotAfter: readCertificate(anchor).notAfter,
        offlineRoot: root === undefined,
        rosterSequence: ledger.roster.current.sequence,
        rosterIssuedAt: ledger.roster.current.issuedAt,
        identityNotAfter: own.held?.tls.notAfter,
        sealNotAfter: own.held?.seal.notAfter,
        clusters: [...ledger.roster.current.clusters.values()].map(({ cluster, state, caKeyIds }) => ({
          name: cluster,
          state,
          keys: caKeyIds.length,
        })),
        openTokens: tokens.rows().filter(({ state }) => state === 'open').length,
        pending: own.pending + (ledger.held?.allPending().length ?? 0),
        watchers: service.watchers(),
        hub: publisher?.standing(),
        problem: ledger.problem,
      }),
      close,
    };
  } catch (thrown) {
    await close().catch((failed: unknown) => log.error({ why: messageOf(failed) }, 'cannot close the state'));
    throw thrown;
  }
}

async function backUp(
  ledger: AuthorityLedger,
  { stateDir, passphraseFile, clock }: OpenAuthorityOptions,
  request: BackupRequest,
): Promise<BackupReport> {
  const report = await writeBackup({
    stateDir,
    copyTo: (copy) => ledger.copyTo(copy),
    clock,
    ...(passphraseFile !== undefined && { passphraseFile }),
    ...request,
  });
  const detail = `${report.bytes} bytes, roster ${report.rosterSequence}`;
  await ledger.decide({ entries: [{ who: operator, what: 'backup', subject: request.out, detail }] });
  return report;
}

async function inventoryRows(ledger: AuthorityLedger, limit: number, now: number): Promise<readonly IntermediateRow[]> {
  const entries = await ledger.inventory(limit);
  return entries.map(({ certificate, retired, notAfter, keyId, ...entry }) => ({
    ...entry,
    keyId,
    notAfter,
    sha256: fingerprintOf(certificate),
    state: ledger.held?.isDenied(keyId) ? 'denied' : retired ? 'retired' : notAfter <= now ? 'expired' : 'live',
  }));
}

function defaultAddress(host: string, port: number): string {
  if (host === '0.0.0.0' || host === '::') {
    throw new IsthmusError('invalid', `The authority listens on ${host}, which nobody can dial`, {
      hint: 'Give the address under which the newcomer reaches the authority.',
    });
  }
  return formatHostPort({ host, port });
}
