import { Server } from '@grpc/grpc-js';
import { IsthmusError } from '../../model/error.ts';
import { roleOf, type TrustDomain } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Hub } from '../../model/ports/hub.ts';
import type { TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { Roster, RosterEntry } from '../../model/trust.ts';
import { type GrpcListener, listenGrpc } from '../../runtime/io/grpc-server.ts';
import type { ListenAddress } from '../../runtime/io/tcp-server.ts';
import type { TlsMaterial } from '../../runtime/io/tls.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { formatHostPort } from '../../model/address.ts';
import { type AuditRecord, auditProblem } from '../audit.ts';
import { sealBundles } from '../bundle/bundle-sealer.ts';
import { createPeerVerifier } from '../verify/peer-verifier.ts';
import { fingerprintOf } from '../x509/read.ts';
import { authorityService } from './authority-api.ts';
import { AuthorityCore, type IssuedToken, type SealedRoster } from './authority-core.ts';
import { type HubPublisher, publishToHub } from './authority-hub.ts';
import { type AuthorityIdentities, databasePath, openAuthorityKeys } from './authority-keys.ts';
import { authorityHandlers } from './authority-rpc.ts';
import { AuthorityStore } from './authority-store.ts';
import { type VerifiedPeer, verifiedPeer } from './call-identity.ts';
import { createSealer } from './sealer.ts';

export { initAuthority, type InitAuthorityOptions, type InitAuthorityResult } from './authority-keys.ts';

/** How often the authority looks whether its own identities need renewal. */
const identityCheckMs = 30_000;

export interface OpenAuthorityOptions {
  readonly stateDir: string;
  readonly listen: ListenAddress;
  /** Default: `<stateDir>/passphrase`. */
  readonly passphraseFile?: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Keep the roster in this hub too. Not closed here. */
  readonly hub?: Hub;
  /** Default true; some TLS libraries reject every chain with URI constraints. */
  readonly nameConstraints?: boolean;
  /** Life of intermediates in ms; default 60 days. */
  readonly intermediateLifeMs?: number;
}

export interface TokenRequest {
  readonly cluster: ClusterName;
  /** Default and at most 15 minutes. */
  readonly ttlMs?: number;
  /** `host:port`; default: where the authority listens. */
  readonly addresses?: readonly string[];
  /** For a replica that lost its disk. */
  readonly rejoin?: boolean;
}

export interface AuthorityStatus {
  readonly federationDomain: TrustDomain;
  readonly rootSha256: string;
  readonly rosterSequence: number;
  /** Wall clock in ms. */
  readonly rosterIssuedAt: number;
  readonly identityNotAfter: number;
  readonly sealNotAfter: number;
  readonly clusters: readonly {
    readonly name: ClusterName;
    readonly state: RosterEntry['state'];
    readonly keys: number;
  }[];
  /** Agents that hold a roster stream. */
  readonly watchers: number;
  /** Why the hub does not hold the present roster; undefined: it does, or there is no hub. */
  readonly hubProblem: string | undefined;
}

/** A running authority. */
export interface Authority {
  readonly port: number;
  readonly federationDomain: TrustDomain;
  readonly roster: Watch<Roster>;
  readonly sealedRoster: Watch<SealedRoster>;
  /** Roster and anchors together, as the bundles are made of. */
  readonly trust: TrustSource;
  /** @throws IsthmusError `invalid`, `denied` */
  issueToken(request: TokenRequest): Promise<IssuedToken>;
  /** Suspends, revokes or readmits a member, at once and durably. @throws IsthmusError `not-found`, `conflict` */
  setClusterState(cluster: ClusterName, state: RosterEntry['state'], why: string): Promise<void>;
  /** The audit journal, oldest first. */
  journal(): Iterable<AuditRecord>;
  /** Why the journal is not what was written; undefined: it is whole. */
  journalProblem(): string | undefined;
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
  const { federationDomain, root } = keys;
  const store = new AuthorityStore(databasePath(stateDir));
  let listener: GrpcListener<VerifiedPeer | undefined> | undefined;
  let core: AuthorityCore | undefined;
  try {
    let identities = (await keys.identities(clock.now())).current;
    let material = materialOf(identities, root.certificate);
    const sealer = new Watchable(createSealer(identities.seal));
    const decisions = new AuthorityCore({
      store,
      root,
      federationDomain,
      clock,
      sealer,
      nameConstraints,
      ...(intermediateLifeMs !== undefined && { intermediateLifeMs }),
    });
    core = decisions;
    const verifier = createPeerVerifier(decisions.trust, clock);
    const server = new Server({ 'grpc.max_receive_message_length': 64 << 10, 'grpc.max_concurrent_streams': 128 });
    const rpc = authorityHandlers({
      core: decisions,
      federationDomain,
      root: root.certificate,
      peerOf: (call) => listener?.peerOf(call),
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
    const endTrust = decisions.trust.subscribe(() => opened.recheck());
    const bundles = sealBundles(decisions.trust, sealer);
    const publisher: HubPublisher | undefined =
      hub &&
      publishToHub({
        hub,
        sealedRoster: decisions.sealedRoster,
        sealedBundles: bundles.bundles,
        sequence: () => decisions.roster.current.sequence,
        clock,
        log,
      });
    const renewal = every(clock, identityCheckMs, async () => {
      try {
        const { current, renewed } = await keys.identities(clock.now());
        if (!renewed) return;
        identities = current;
        material = materialOf(current, root.certificate);
        sealer.set(createSealer(current.seal));
        log.info({ notAfter: current.tls.notAfter }, 'own identities renewed');
      } catch (thrown) {
        log.error({ err: thrown }, 'cannot renew own identities');
      }
    });
    log.info({ port: opened.port, federationDomain }, 'authority is up');
    return {
      port: opened.port,
      federationDomain,
      roster: decisions.roster,
      sealedRoster: decisions.sealedRoster,
      trust: decisions.trust,
      async issueToken(request): Promise<IssuedToken> {
        const addresses = request.addresses ?? [defaultAddress(options.listen.host, opened.port)];
        return decisions.issueToken({ ...request, addresses });
      },
      async setClusterState(cluster, state, why): Promise<void> {
        decisions.setState(cluster, state, why);
      },
      journal: () => store.journal(),
      journalProblem: () => auditProblem(store.journal()),
      status: () => ({
        federationDomain,
        rootSha256: fingerprintOf(root.certificate),
        rosterSequence: decisions.roster.current.sequence,
        rosterIssuedAt: decisions.roster.current.issuedAt,
        identityNotAfter: identities.tls.notAfter,
        sealNotAfter: identities.seal.notAfter,
        clusters: [...decisions.roster.current.clusters.values()].map(({ cluster, state, caKeyIds }) => ({
          name: cluster,
          state,
          keys: caKeyIds.length,
        })),
        watchers: rpc.watchers(),
        hubProblem: publisher?.problem(),
      }),
      async close(): Promise<void> {
        renewal.cancel();
        endTrust();
        await publisher?.close();
        bundles.close();
        await opened.close();
        decisions.close();
        store.close();
      },
    };
  } catch (thrown) {
    await listener?.close();
    core?.close();
    store.close();
    throw thrown;
  }
}

/** The chain that newcomers see ends with the root, which is what their token pins. */
function materialOf(identities: AuthorityIdentities, root: Uint8Array): TlsMaterial {
  const { chain, keyPem } = identities.tls;
  return { identity: { chain: [...chain, root], keyPem }, anchors: [root] };
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
