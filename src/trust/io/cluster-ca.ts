import { join } from 'node:path';
import type { UntypedServiceImplementation } from '@grpc/grpc-js';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { TrustDomain } from '../../model/identity.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { PeerVerifier, SvidSource, TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Sealer, SealVerifier } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { AckRecord } from '../../model/record.ts';
import type { KeyId, MemberHub, Svid } from '../../model/trust.ts';
import { ensurePrivateDir } from '../../runtime/io/files.ts';
import type { TlsMaterial } from '../../runtime/io/tls.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { encodeJoinToken } from '../../wire/join-token.ts';
import type { TrustUpdate } from '../../wire/trust-update.ts';
import type { ClockSkew } from '../issue/authority-clock.ts';
import { ownHand } from '../issue/issuance.ts';
import { RequestLimiter, type RequestLimits } from '../issue/request-limiter.ts';
import type { RosterCounters, RosterOffer } from '../roster-holder.ts';
import { createPeerVerifier } from '../verify/peer-verifier.ts';
import { createSealVerifier } from '../verify/seal-verifier.ts';
import { profiles } from '../x509/profiles.ts';
import { fingerprintOf } from '../x509/read.ts';
import { agentFiles } from './agent-files.ts';
import { type AuthorityLinkStatus, openAuthorityLink } from './authority-link.ts';
import type { CallIdentity } from './call-identity.ts';
import { ClusterClock } from './cluster-clock.ts';
import { gatewayHandlers } from './cluster-gateways.ts';
import { ClusterIssuance, clusterLimits } from './cluster-issuance.ts';
import type { PendingIntermediate } from './cluster-intermediates.ts';
import { ClusterKeys } from './cluster-keys.ts';
import { ClusterRecords, type IssuedReport } from './cluster-records.ts';
import { ClusterRosters } from './cluster-rosters.ts';
import { startUpkeep } from './cluster-upkeep.ts';
import { GatewayTokens } from './gateway-tokens.ts';

export interface OpenClusterCaOptions {
  /** Made by `joinCluster`. */
  readonly stateDir: string;
  readonly clock: Clock;
  /** Ms since an arbitrary start, the sleep of the machine included. Default: the monotonic clock. */
  readonly elapsedMs?: () => number;
  readonly log: Log;
  /** `host:port`; default: those of the join token. */
  readonly authorityAddresses?: readonly string[];
  /** Life of SVIDs in ms; default 12 h. */
  readonly svidLifeMs?: number;
  /** DNS names on the agent's own certificate, for clients that know it by its host. Default none. */
  readonly serverNames?: readonly string[];
  /** Longest wait of a renewed intermediate for acknowledgements, in ms. Default 15 minutes. */
  readonly activationMaxMs?: number;
  /**
   * Who has not acknowledged roster `sequence` yet, of all whom a new intermediate must wait for. Default: nobody is to
   * be waited for.
   */
  readonly unacknowledged?: (sequence: number) => readonly string[];
  /** Default `clusterLimits`. */
  readonly limits?: RequestLimits;
}

export interface GatewayTokenRequest {
  readonly gateway: ReplicaName;
  /** `host:port` of the agent. */
  readonly addresses: readonly string[];
  /** Default and at most 15 minutes. */
  readonly ttlMs?: number;
}

export interface ClusterCaStatus {
  /** 0: no roster yet. */
  readonly rosterSequence: number;
  /** Authority's wall clock in ms. */
  readonly rosterIssuedAt: number;
  readonly intermediateKeyId: KeyId;
  /** Wall clock in ms. */
  readonly intermediateNotAfter: number;
  /** The next intermediate while it waits to be known; undefined: none does. */
  readonly pending: PendingIntermediate | undefined;
  readonly agentSvidNotAfter: number | undefined;
  readonly sealNotAfter: number | undefined;
  readonly authority: AuthorityLinkStatus;
  /** Undefined: not seen yet. */
  readonly clockSkew: ClockSkew | undefined;
  /** Why nothing is signed: the wall clock jumped; undefined: it did not. */
  readonly clockProblem: string | undefined;
  /** Rosters that were not taken. */
  readonly rosterCounters: RosterCounters;
  /** Why the last renewal of the intermediate failed; undefined: it did not. */
  readonly renewalProblem: string | undefined;
}

/** The identity side of one agent replica. */
export interface ClusterCa {
  readonly cluster: ClusterName;
  readonly replica: ReplicaName;
  readonly federationDomain: TrustDomain;
  readonly trustDomain: TrustDomain;
  /** DER: what everything of the federation leads to. */
  readonly anchors: readonly Uint8Array[];
  readonly trust: TrustSource;
  /** For the gateways. */
  readonly trustUpdate: Watch<TrustUpdate | undefined>;
  readonly agentSvid: SvidSource;
  /** What the agent's own listener presents: the chain down to the anchor, which a gateway's token pins. */
  readonly listenerMaterial: Watch<TlsMaterial | undefined>;
  readonly sealer: Watch<Sealer | undefined>;
  readonly peerVerifier: PeerVerifier;
  readonly sealVerifier: SealVerifier;
  /** Where all leaves for others come from. */
  readonly issuance: ClusterIssuance;
  /** @throws IsthmusError `invalid`, `exhausted` */
  issueGatewayToken(request: GatewayTokenRequest): Promise<{ readonly token: string; readonly expiresAt: number }>;
  /** Handlers of `isthmus.v1.GatewayIdentity`; register them under `gatewayIdentityService`. */
  identityHandlers(peerOf: CallIdentity): UntypedServiceImplementation;
  /** Offers a roster that was found elsewhere, such as in a hub. Never throws. */
  acceptRoster(sealed: Uint8Array, chain: Uint8Array): RosterOffer;
  /** Where the hub is, as the authority said at the join; undefined: it said nothing. */
  readonly hub: MemberHub | undefined;
  /** Tells the authority what replicas proved; what the cluster's other agents said. @throws IsthmusError */
  acknowledge(own: readonly AckRecord[]): Promise<readonly AckRecord[]>;
  /** Says goodbye to the authority for this whole cluster. @throws IsthmusError */
  leave(why: string): Promise<void>;
  status(): ClusterCaStatus;
  issued(): IssuedReport;
  close(): Promise<void>;
}

/**
 * Runs the CA of a replica that joined. An unreachable authority never stops it.
 * @throws IsthmusError `not-found` before a join, `corrupt` or `denied` for damaged or open files
 */
export async function openClusterCa(options: OpenClusterCaOptions): Promise<ClusterCa> {
  const { stateDir, clock, log, svidLifeMs = profiles.leaf.lifeMs } = options;
  const files = agentFiles(stateDir);
  const membership = await files.membership.read();
  if (!membership) {
    throw new IsthmusError('not-found', `${stateDir} holds no identity`, {
      hint: 'Join with a token of the authority.',
    });
  }
  await ensurePrivateDir(stateDir);
  const { cluster, replica, federationDomain, anchors } = membership;
  const records = await ClusterRecords.open(join(stateDir, 'issued'), clock, log);
  const watch = new ClusterClock({
    clock,
    elapsedMs: options.elapsedMs,
    tell: (problem) => records.denied('clock', ownHand, problem),
    log,
  });
  const rosters = new ClusterRosters(membership, files.roster, { clock, log });
  const { holder } = rosters;
  const keys = await ClusterKeys.open({
    files,
    membership,
    clock,
    svidLifeMs,
    serverNames: options.serverNames ?? [],
    activationMaxMs: options.activationMaxMs ?? 15 * 60_000,
    missingAcks: (keyId) => missingAcks(rosters.listedSince(keyId), options),
    async onActivated(activation): Promise<void> {
      if (activation.missing.length > 0)
        log.warn(activation, 'the next intermediate signs, though some may not know it');
      else log.info(activation, 'the next intermediate signs');
      await records.activated(activation);
    },
    requireClock: () => watch.require(),
    record: (issuance, who) => records.issued(issuance, who),
  });
  const tokens = await GatewayTokens.open(files.gatewayTokens);
  await rosters.restore();
  await issueOwn(keys, log);

  const onTime = (at: number): void => {
    rosters.authorityClock.note(at, clock.now(), true);
    watch.heard(at);
  };
  const listenerMaterial = new Watchable<TlsMaterial | undefined>(materialOf(keys.agentSvid.current, anchors));
  const endMaterial = keys.agentSvid.subscribe((svid) => listenerMaterial.set(materialOf(svid, anchors)));
  const link = openAuthorityLink({
    federationDomain,
    addresses: options.authorityAddresses ?? membership.authorityAddresses,
    base: holder.base,
    material: listenerMaterial,
    knownSequence: () => holder.roster?.sequence ?? 0,
    onRoster({ sealed, chain }): void {
      const { connected, since } = link.status();
      rosters.acceptPushed(sealed, chain, connected ? clock.monotonic() - since : 0);
    },
    onTime,
    clock,
    log,
  });
  const acceptRoster = (sealed: Uint8Array, chain: Uint8Array): RosterOffer => rosters.accept(sealed, chain);
  const upkeep = startUpkeep({
    keys,
    link,
    replica,
    clock,
    log,
  });
  const issuance = new ClusterIssuance({
    cluster,
    trustDomain: keys.trustDomain,
    keys,
    records,
    limiter: new RequestLimiter(options.limits ?? clusterLimits, clock.monotonic()),
    trust: holder.trust,
    isCaKey: (keyId) => keyId === keys.pending?.keyId || keyId === keys.intermediateKeyId || rosters.isCaKey(keyId),
    svidLifeMs,
    clock,
    log,
  });
  return {
    cluster,
    replica,
    federationDomain,
    trustDomain: keys.trustDomain,
    anchors,
    trust: holder.trust,
    trustUpdate: holder.update,
    agentSvid: keys.agentSvid,
    listenerMaterial,
    sealer: keys.sealer,
    peerVerifier: createPeerVerifier(holder.trust, clock),
    sealVerifier: createSealVerifier(holder.trust, clock),
    issuance,
    async issueGatewayToken({ gateway, addresses, ttlMs }) {
      const { secret, expiresAt } = await tokens.issue(gateway, clock.now(), ttlMs);
      const rootSha256 = fingerprintOf(anchors[0] ?? new Uint8Array());
      const token = encodeJoinToken({
        kind: 'gateway',
        cluster,
        gateway,
        federationDomain,
        addresses,
        rootSha256,
        secret,
        expiresAt,
      });
      return { token, expiresAt };
    },
    identityHandlers: (peerOf) =>
      gatewayHandlers({
        cluster,
        trustDomain: keys.trustDomain,
        anchors,
        tokens,
        issuance,
        update: () => holder.update.current,
        peerOf,
        clock,
        log,
      }),
    acceptRoster,
    hub: membership.hub,
    acknowledge: (own) => link.acknowledge(own),
    leave: (why) => link.leave(why),
    status: () => ({
      rosterSequence: holder.roster?.sequence ?? 0,
      rosterIssuedAt: holder.roster?.issuedAt ?? 0,
      intermediateKeyId: keys.intermediateKeyId,
      intermediateNotAfter: keys.intermediateNotAfter,
      pending: keys.pending,
      agentSvidNotAfter: keys.agentSvid.current?.notAfter,
      sealNotAfter: keys.sealNotAfter,
      authority: link.status(),
      clockSkew: rosters.authorityClock.skew,
      clockProblem: watch.problem,
      rosterCounters: holder.counters,
      renewalProblem: upkeep.problem(),
    }),
    issued: () => records.report(),
    async close(): Promise<void> {
      endMaterial();
      await upkeep.close();
      await link.close();
      await rosters.settled();
      await records.close();
    },
  };
}

function materialOf(svid: Svid | undefined, anchors: readonly Uint8Array[]): TlsMaterial | undefined {
  return svid && { identity: { chain: [...svid.chain, ...anchors], keyPem: svid.keyPem }, anchors };
}

/** Whom a key has to wait for that is listed since roster `since`; undefined: no roster lists it yet. */
function missingAcks(since: number | undefined, { unacknowledged }: OpenClusterCaOptions): readonly string[] {
  if (since === undefined) return ['the roster that lists it'];
  return unacknowledged?.(since) ?? [];
}

/** A full disk: the agent starts without an identity, says what it waits for, and tries again. */
async function issueOwn(keys: ClusterKeys, log: Log): Promise<void> {
  try {
    await keys.maintain();
  } catch (thrown) {
    if (IsthmusError.from(thrown).code !== 'unavailable') throw thrown;
    log.error({ why: messageOf(thrown) }, 'cannot issue own identities yet');
  }
}
