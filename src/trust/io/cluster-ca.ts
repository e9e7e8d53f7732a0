import type { UntypedServiceImplementation } from '@grpc/grpc-js';
import { IsthmusError, messageOf } from '../../model/error.ts';
import { roleOf, trustDomainOf, type TrustDomain } from '../../model/identity.ts';
import { type ClusterName, parseReplicaName, type ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { PeerVerifier, SvidSource, TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Sealer, SealVerifier } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { KeyId, Svid } from '../../model/trust.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { ensurePrivateDir } from '../../runtime/io/files.ts';
import type { TlsMaterial } from '../../runtime/io/tls.ts';
import { sleep } from '../../runtime/sleep.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { encodeJoinToken } from '../../wire/join-token.ts';
import type { TrustUpdate } from '../../wire/trust-update.ts';
import { pauseUntil } from '../renewal.ts';
import { type RosterCounters, RosterHolder, type RosterOffer } from '../roster-holder.ts';
import { createPeerVerifier } from '../verify/peer-verifier.ts';
import { createSealVerifier } from '../verify/seal-verifier.ts';
import { parseCsr } from '../x509/csr.ts';
import { fingerprintOf } from '../x509/read.ts';
import { agentFiles } from './agent-files.ts';
import { answer } from './answer.ts';
import type { EnrollRequest, RenewRequest, SvidResponse } from './authority-api.ts';
import { type AuthorityLink, type AuthorityLinkStatus, openAuthorityLink } from './authority-link.ts';
import { type CallIdentity, requirePeer } from './call-identity.ts';
import { ClusterKeys } from './cluster-keys.ts';
import { GatewayTokens } from './gateway-tokens.ts';
import { toBase64 } from './state-file.ts';

export interface OpenClusterCaOptions {
  /** Made by `joinCluster`. */
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** `host:port`; default: those of the join token. */
  readonly authorityAddresses?: readonly string[];
  /** Life of SVIDs in ms; default 12 h. */
  readonly svidLifeMs?: number;
  /** How long a renewed intermediate waits before it signs, in ms. Default 60,000. */
  readonly activationDelayMs?: number;
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
  readonly agentSvidNotAfter: number | undefined;
  readonly sealNotAfter: number | undefined;
  readonly authority: AuthorityLinkStatus;
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
  readonly trust: TrustSource;
  /** For the gateways. */
  readonly trustUpdate: Watch<TrustUpdate | undefined>;
  readonly agentSvid: SvidSource;
  /** What the agent's own listener presents: the chain down to the anchor, which a gateway's token pins. */
  readonly listenerMaterial: Watch<TlsMaterial | undefined>;
  readonly sealer: Watch<Sealer | undefined>;
  readonly peerVerifier: PeerVerifier;
  readonly sealVerifier: SealVerifier;
  /** @throws IsthmusError `invalid`, `exhausted` */
  issueGatewayToken(request: GatewayTokenRequest): Promise<{ readonly token: string; readonly expiresAt: number }>;
  /** Handlers of `isthmus.v1.GatewayIdentity`; register them under `gatewayIdentityService`. */
  identityHandlers(peerOf: CallIdentity): UntypedServiceImplementation;
  /** Offers a roster that was found elsewhere, such as in a hub. Never throws. */
  acceptRoster(sealed: Uint8Array, chain: Uint8Array): RosterOffer;
  status(): ClusterCaStatus;
  close(): Promise<void>;
}

/**
 * Runs the CA of a replica that joined. An unreachable authority never stops it.
 * @throws IsthmusError `not-found` before a join, `corrupt` or `denied` for damaged or open files
 */
export async function openClusterCa(options: OpenClusterCaOptions): Promise<ClusterCa> {
  const { stateDir, clock, log, svidLifeMs, activationDelayMs = 60_000 } = options;
  const files = agentFiles(stateDir);
  const membership = await files.membership.read();
  if (!membership) {
    throw new IsthmusError('not-found', `${stateDir} holds no identity`, {
      hint: 'Join with a token of the authority.',
    });
  }
  await ensurePrivateDir(stateDir);
  const { cluster, replica, federationDomain, anchors } = membership;
  const keys = await ClusterKeys.open({
    files,
    membership,
    clock,
    activationDelayMs,
    ...(svidLifeMs !== undefined && { svidLifeMs }),
  });
  const tokens = await GatewayTokens.open(files.gatewayTokens);
  const holder = new RosterHolder({ federationDomain, anchors, clock });

  const acceptRoster = (sealed: Uint8Array, chain: Uint8Array): RosterOffer => {
    const offer = holder.offer(sealed, chain);
    if (offer.result === 'accepted') {
      log.info({ sequence: holder.roster?.sequence }, 'new roster');
      files.roster
        .write({ version: 1, sealed: toBase64(sealed), chain: toBase64(chain) })
        .catch((thrown: unknown) => log.error({ why: messageOf(thrown) }, 'cannot keep the roster on disk'));
    } else if ('detail' in offer) {
      log.warn({ result: offer.result, why: offer.detail }, 'a roster was not taken');
    }
    return offer;
  };
  const stored = await files.roster.read();
  if (stored) {
    const offer = holder.offer(stored.sealed, stored.chain);
    if (offer.result !== 'accepted') log.error({ offer }, 'the roster on disk does not verify');
  }

  const listenerMaterial = new Watchable<TlsMaterial | undefined>(materialOf(keys.agentSvid.current, anchors));
  const endMaterial = keys.agentSvid.subscribe((svid) => listenerMaterial.set(materialOf(svid, anchors)));
  const link = openAuthorityLink({
    federationDomain,
    addresses: options.authorityAddresses ?? membership.authorityAddresses,
    base: holder.base,
    material: listenerMaterial,
    knownSequence: () => holder.roster?.sequence ?? 0,
    onRoster: ({ sealed, chain }) => acceptRoster(sealed, chain),
    clock,
    log,
  });
  const upkeep = startUpkeep({ keys, link, replica, acceptRoster, clock, log });
  const respond = (gateway: ReplicaName, csr: Uint8Array): SvidResponse => {
    const { spki, keyType } = parseCsr(csr);
    if (keyType !== 'p256') throw new IsthmusError('invalid', `A gateway's key must be P-256: it is ${keyType}`);
    const chain = [...keys.issueSvid('gateway', gateway, spki), ...anchors].map((certificate) =>
      Buffer.from(certificate),
    );
    const update = holder.update.current;
    return {
      chain,
      trust: update
        ? {
            sealedRoster: Buffer.from(update.sealedRoster),
            rosterChain: Buffer.from(update.rosterChain),
            anchors: update.anchors.map((anchor) => Buffer.from(anchor)),
          }
        : null,
    };
  };
  return {
    cluster,
    replica,
    federationDomain,
    trustDomain: keys.trustDomain,
    trust: holder.trust,
    trustUpdate: holder.update,
    agentSvid: keys.agentSvid,
    listenerMaterial,
    sealer: keys.sealer,
    peerVerifier: createPeerVerifier(holder.trust, clock),
    sealVerifier: createSealVerifier(holder.trust, clock),
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
    identityHandlers: (peerOf) => ({
      Enroll: answer<EnrollRequest, SvidResponse>('Enroll', log, async (call) => {
        const gateway = parseReplicaName(call.request.replica);
        // The request is judged before the token is used up: a slip must not cost it.
        parseCsr(call.request.csr);
        await tokens.consume(call.request.secret, gateway, clock.now());
        log.info({ gateway, from: call.getPeer() }, 'gateway enrolled');
        return respond(gateway, call.request.csr);
      }),
      Renew: answer<RenewRequest, SvidResponse>('Renew', log, (call) => {
        const peer = requirePeer(peerOf, call);
        const caller = roleOf(peer.id);
        if (caller?.role !== 'gateway' || trustDomainOf(peer.id) !== keys.trustDomain) {
          throw new IsthmusError('denied', `Only a gateway of ${cluster} is renewed here: the caller is ${peer.id}`);
        }
        return respond(caller.replica, call.request.csr);
      }),
    }),
    acceptRoster,
    status: () => ({
      rosterSequence: holder.roster?.sequence ?? 0,
      rosterIssuedAt: holder.roster?.issuedAt ?? 0,
      intermediateKeyId: keys.intermediateKeyId,
      intermediateNotAfter: keys.intermediateNotAfter,
      agentSvidNotAfter: keys.agentSvid.current?.notAfter,
      sealNotAfter: keys.sealNotAfter,
      authority: link.status(),
      rosterCounters: holder.counters,
      renewalProblem: upkeep.problem(),
    }),
    async close(): Promise<void> {
      endMaterial();
      await upkeep.close();
      await link.close();
      await files.roster.settled();
    },
  };
}

function materialOf(svid: Svid | undefined, anchors: readonly Uint8Array[]): TlsMaterial | undefined {
  return svid && { identity: { chain: [...svid.chain, ...anchors], keyPem: svid.keyPem }, anchors };
}

interface UpkeepOptions {
  readonly keys: ClusterKeys;
  readonly link: AuthorityLink;
  readonly replica: ReplicaName;
  readonly acceptRoster: ClusterCa['acceptRoster'];
  readonly clock: Clock;
  readonly log: Log;
}

/** Renews what is due, for ever. */
function startUpkeep({ keys, link, replica, acceptRoster, clock, log }: UpkeepOptions): {
  problem(): string | undefined;
  close(): Promise<void>;
} {
  const stop = new AbortController();
  let problem: string | undefined;
  const renew = async (): Promise<void> => {
    const { csr, accept } = keys.nextRequest();
    const response = await link.renewIntermediate(replica, csr);
    await accept(response);
    if (response.roster) acceptRoster(response.roster.sealed, response.roster.chain);
    log.info({}, 'the next intermediate is here');
  };
  const run = async (): Promise<void> => {
    const backoff = new Backoff({ initialMs: 1000, maxMs: 300_000 }, () => clock.random());
    let retryAt = 0;
    while (!stop.signal.aborted) {
      try {
        await keys.maintain();
        if (keys.wantsIntermediate && clock.monotonic() >= retryAt) await renew();
        if (!keys.wantsIntermediate) {
          problem = undefined;
          backoff.reset();
        }
      } catch (thrown) {
        problem = messageOf(thrown);
        retryAt = clock.monotonic() + backoff.next();
        if (!stop.signal.aborted) log.warn({ why: problem }, 'cannot renew');
      }
      const retry = keys.wantsIntermediate ? [clock.now() + Math.max(0, retryAt - clock.monotonic())] : [];
      await sleep(clock, pauseUntil(clock.now(), [...keys.due, ...retry]), stop.signal);
    }
  };
  const running = run();
  return {
    problem: () => problem,
    async close(): Promise<void> {
      stop.abort();
      await running;
    },
  };
}
