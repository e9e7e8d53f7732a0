import { Server } from '@grpc/grpc-js';
import { IsthmusError, messageOf } from '../../model/error.ts';
import { roleOf, type TrustDomain } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Hub } from '../../model/ports/hub.ts';
import type { TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Sealer } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { Admission, MemberHub, Roster, RosterEntry } from '../../model/trust.ts';
import type { BackupReport, IntermediateRow, PendingRow, TokenRow } from '../../model/trust-report.ts';
import { type GrpcListener, listenGrpc } from '../../runtime/io/grpc-server.ts';
import type { ListenAddress } from '../../runtime/io/tcp-server.ts';
import type { TlsMaterial } from '../../runtime/io/tls.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { formatHostPort } from '../../model/address.ts';
import type { AuditRecord } from '../audit.ts';
import { takesAway } from '../authority/roster-diff.ts';
import { type SealedRoster, sealRosters } from '../authority/roster-sealer.ts';
import { sealBundles } from '../bundle/bundle-sealer.ts';
import type { RequestLimits } from '../issue/request-limiter.ts';
import { createPeerVerifier } from '../verify/peer-verifier.ts';
import { fingerprintOf, readCertificate } from '../x509/read.ts';
import { authorityService } from './authority-api.ts';
import { writeBackup } from './authority-backup.ts';
import { AuthorityCore, authorityLimits, type IssuedToken, tokenId, tokenState } from './authority-core.ts';
import { type HubPublisher, publishToHub } from './authority-hub.ts';
import { type AuthorityIdentities, authorityFiles, openAuthorityKeys } from './authority-keys.ts';
import { AuthorityLedger, type JournalState } from './authority-ledger.ts';
import { type ImportResult, OfflineRoot, type SignRequest } from './authority-offline.ts';
import { authorityHandlers } from './authority-rpc.ts';
import { type VerifiedPeer, verifiedPeer } from './call-identity.ts';
import type { ScryptCost } from './key-vault.ts';
import { createSealer } from './sealer.ts';

export { initAuthority } from './authority-keys.ts';

/** How often the authority looks whether its own identities need renewal. */
const identityCheckMs = 30_000;

/** Whoever has the admin socket, as the journal names it. */
const operator = 'operator';

export interface OpenAuthorityOptions {
  readonly stateDir: string;
  readonly listen: ListenAddress;
  /** Default: `<stateDir>/passphrase`. */
  readonly passphraseFile?: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Keep the roster in this hub too. Not closed here. */
  readonly hub?: Hub;
  /** Where a member finds the hub; default: it is told by its own configuration. */
  readonly hubFor?: (cluster: ClusterName) => MemberHub | undefined;
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
  /** What waits for an offline root. */
  pending(): Promise<readonly PendingRow[]>;
  /** @throws IsthmusError `conflict` if nothing waits */
  signRequest(): Promise<SignRequest>;
  /** @throws IsthmusError `invalid`, naming the rule */
  importResponse(file: Uint8Array): Promise<ImportResult>;
  /** @throws IsthmusError `conflict`, `unavailable`, `denied` */
  backup(request: BackupRequest): Promise<BackupReport>;
  /** Goes on with a wall clock that went back. */
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
  const ledger = await AuthorityLedger.open({ path, federationDomain, anchor, clock, log });
  let listener: GrpcListener<VerifiedPeer | undefined> | undefined;
  try {
    const core = new AuthorityCore({
      ledger,
      root,
      anchor,
      federationDomain,
      clock,
      log,
      nameConstraints,
      limits: options.limits ?? authorityLimits,
      ...(intermediateLifeMs !== undefined && { intermediateLifeMs }),
    });
    let identities: AuthorityIdentities | undefined;
    let material: TlsMaterial | undefined;
    let ownPending = 0;
    const sealer = new Watchable<Sealer | undefined>(undefined);
    const refresh = async (): Promise<void> => {
      const now = clock.now();
      const { current, renewed } = await keys.identities(now);
      ownPending = root ? 0 : (await keys.requests(now)).length;
      if (current?.tls.notAfter === identities?.tls.notAfter && current?.seal.notAfter === identities?.seal.notAfter) {
        return;
      }
      identities = current;
      material = current && materialOf(current, anchor);
      sealer.set(current && createSealer(current.seal));
      if (renewed) log.info({ notAfter: current?.tls.notAfter }, 'own identities renewed');
    };
    await refresh();
    const offline = new OfflineRoot({ keys, core, ledger, nameConstraints, clock });
    const seals = sealRosters(ledger.roster, sealer);
    const verifier = createPeerVerifier(ledger.trust, clock);
    const server = new Server({ 'grpc.max_receive_message_length': 64 << 10, 'grpc.max_concurrent_streams': 128 });
    const rpc = authorityHandlers({
      core,
      sealedRoster: seals.roster,
      federationDomain,
      anchor,
      hubFor: options.hubFor ?? (() => undefined),
      peerOf: (call) => listener?.peerOf(call),
      clock,
      log,
    });
    server.addService(authorityService, rpc.handlers);
    const check = (chain: readonly Uint8Array[]): VerifiedPeer | undefined => {
      if (chain.length === 0) return undefined;
      const peer = verifiedPeer(verifier, chain);
      if (roleOf(peer.id)?.role !== 'agent') throw new IsthmusError('denied', `${peer.id} is no agent`);
      return peer;
    };
    const opened = await listenGrpc({ listen: options.listen, server, material: () => material, check, log });
    listener = opened;
    let rechecked = ledger.roster.current;
    const endTrust = ledger.trust.subscribe((trust) => {
      const before = rechecked;
      rechecked = trust?.roster ?? before;
      // Verifying every open connection anew takes its time; a new member gives no reason for it.
      if (takesAway(before, rechecked)) opened.recheck();
    });
    const bundles = sealBundles(ledger.trust, sealer);
    const publisher: HubPublisher | undefined =
      hub && publishToHub({ hub, sealedRoster: seals.roster, sealedBundles: bundles.bundles, clock, log });
    const renewal = every(clock, identityCheckMs, async () => {
      try {
        await refresh();
      } catch (thrown) {
        log.error({ err: thrown }, 'cannot renew own identities');
      }
    });
    log.info({ port: opened.port, federationDomain }, 'authority is up');
    return {
      port: opened.port,
      federationDomain,
      roster: ledger.roster,
      sealedRoster: seals.roster,
      trust: ledger.trust,
      async issueToken(request): Promise<IssuedToken> {
        const addresses = request.addresses ?? [defaultAddress(options.listen.host, opened.port)];
        return core.issueToken({ ...request, addresses, who: operator });
      },
      revokeToken: (id, why) => core.revokeToken(id, operator, why),
      tokens: () => tokenRows(ledger, clock.now()),
      setClusterState: (cluster, state, why) => core.setState(cluster, state, { who: operator, why }),
      admit: (cluster, admission, why) => core.admit(cluster, admission, { who: operator, why }),
      journal: (after, limit) => ledger.journal(after, limit),
      journalState: () => ledger.journalState(),
      inventory: (limit) => inventoryRows(ledger, limit, clock.now()),
      pending: () => offline.pending(),
      signRequest: () => offline.request(operator),
      async importResponse(file): Promise<ImportResult> {
        const result = await offline.accept(file, operator);
        await refresh();
        return result;
      },
      async backup(request): Promise<BackupReport> {
        const copyTo = (copy: string): Promise<void> => ledger.copyTo(copy);
        const report = await writeBackup({
          stateDir,
          copyTo,
          clock,
          ...(options.passphraseFile !== undefined && { passphraseFile: options.passphraseFile }),
          ...request,
        });
        const detail = `${report.bytes} bytes, roster ${report.rosterSequence}`;
        await ledger.decide({ entries: [{ who: operator, what: 'backup', subject: request.out, detail }] });
        return report;
      },
      acceptClock: (why) => ledger.acceptClock(operator, why),
      status: () => ({
        federationDomain,
        rootSha256: fingerprintOf(anchor),
        rootNotAfter: readCertificate(anchor).notAfter,
        offlineRoot: root === undefined,
        rosterSequence: ledger.roster.current.sequence,
        rosterIssuedAt: ledger.roster.current.issuedAt,
        identityNotAfter: identities?.tls.notAfter,
        sealNotAfter: identities?.seal.notAfter,
        clusters: [...ledger.roster.current.clusters.values()].map(({ cluster, state, caKeyIds }) => ({
          name: cluster,
          state,
          keys: caKeyIds.length,
        })),
        openTokens: tokenRows(ledger, clock.now()).filter(({ state }) => state === 'open').length,
        pending: ownPending + (ledger.held?.allPending().length ?? 0),
        watchers: rpc.watchers(),
        hub: publisher?.standing(),
        problem: ledger.problem,
      }),
      async close(): Promise<void> {
        renewal.cancel();
        endTrust();
        await publisher?.close();
        bundles.close();
        seals.close();
        await opened.close();
        await ledger.close();
      },
    };
  } catch (thrown) {
    await listener?.close();
    await ledger.close().catch((failed: unknown) => log.error({ why: messageOf(failed) }, 'cannot close the state'));
    throw thrown;
  }
}

function tokenRows(ledger: AuthorityLedger, now: number): readonly TokenRow[] {
  return [...(ledger.held?.tokens() ?? [])]
    .map((token) => ({
      id: tokenId(token.hash),
      cluster: token.cluster,
      state: tokenState(token, now),
      issuedAt: token.issuedAt,
      expiresAt: token.expiresAt,
      rejoin: token.rejoin,
      ...(token.usedBy !== undefined && { usedBy: token.usedBy }),
    }))
    .sort((a, b) => b.issuedAt - a.issuedAt);
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

/** The chain that newcomers see ends with the anchor, which is what their token pins. */
function materialOf(identities: AuthorityIdentities, anchor: Uint8Array): TlsMaterial {
  const { chain, keyPem } = identities.tls;
  return { identity: { chain: [...chain, anchor], keyPem }, anchors: [anchor] };
}

function defaultAddress(host: string, port: number): string {
  if (host === '0.0.0.0' || host === '::') {
    throw new IsthmusError('invalid', `The authority listens on ${host}, which nobody can dial`, {
      hint: 'Give the address under which the newcomer reaches the authority.',
    });
  }
  return formatHostPort({ host, port });
}

/** Runs `task` again and again, each time `periodMs` after it ended. `task` never rejects. */
function every(clock: Clock, periodMs: number, task: () => Promise<void>): Timer {
  let cancelled = false;
  let timer: Timer;
  const turn = async (): Promise<void> => {
    await task();
    if (!cancelled) timer = clock.schedule(periodMs, () => void turn());
  };
  timer = clock.schedule(periodMs, () => void turn());
  return {
    cancel(): void {
      cancelled = true;
      timer.cancel();
    },
  };
}
