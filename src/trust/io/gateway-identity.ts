import { type ChannelCredentials, Client, type MethodDefinition } from '@grpc/grpc-js';
import { IsthmusError, messageOf } from '../../model/error.ts';
import {
  clusterTrustDomain,
  roleId,
  roleOf,
  type SpiffeId,
  type TrustDomain,
  trustDomainOf,
} from '../../model/identity.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { PeerVerifier, SvidSource, TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { Svid, TrustState } from '../../model/trust.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { ensurePrivateDir } from '../../runtime/io/files.ts';
import { callUnary, channelCredentials, channelOptions } from '../../runtime/io/grpc-client.ts';
import type { TlsMaterial } from '../../runtime/io/tls.ts';
import { sleep } from '../../runtime/sleep.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { decodeJoinToken, type GatewayToken } from '../../wire/join-token.ts';
import { checkTrustUpdate, type TrustUpdate } from '../../wire/trust-update.ts';
import { pauseUntil, renewAt } from '../renewal.ts';
import { RosterHolder } from '../roster-holder.ts';
import { checkTime, verifyPath } from '../verify/path.ts';
import { createPeerVerifier } from '../verify/peer-verifier.ts';
import { fingerprintOf, readCertificate } from '../x509/read.ts';
import { enrollMethod, renewMethod, type SvidResponse } from './authority-api.ts';
import { peerCheck } from './call-identity.ts';
import { encodeGatewayState, type GatewayFiles, gatewayFiles, type GatewayState } from './gateway-files.ts';
import { createCsr, generateKeyPem, signerOf } from './keys.ts';
import { fetchPinnedAnchor } from './pinned-anchor.ts';
import { toBase64 } from './state-file.ts';

const callTimeoutMs = 5000;

export interface OpenGatewayIdentityOptions {
  readonly stateDir: string;
  /** As `issueGatewayToken` made it; needed only as long as there is no identity. */
  readonly token?: string;
  /** The gateway's own name; that of the token. */
  readonly replica: ReplicaName;
  /** `host:port` of the cluster's agents; empty: those of the token. */
  readonly agentAddresses: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

/** The identity of one gateway. */
export interface GatewayIdentity {
  readonly cluster: ClusterName;
  readonly instance: ReplicaName;
  readonly federationDomain: TrustDomain;
  /** `host:port` of the cluster's agents: as given, else as the token said, now or when it was used. */
  readonly agentAddresses: readonly string[];
  /** Undefined before enrolment and once expired. */
  readonly svid: SvidSource;
  readonly trust: TrustSource;
  readonly verifier: PeerVerifier;
  /** Takes what the agent says is trusted, if the authority sealed it and it is newer. Never throws. */
  acceptTrust(update: TrustUpdate): void;
  /** What this gateway presents and what it verifies against. */
  readonly material: Watch<TlsMaterial | undefined>;
  /** mTLS towards the agents, following the SVID; while there is none, connecting waits. */
  readonly credentials: ChannelCredentials;
  /** What is missing before this gateway can serve; undefined: nothing. */
  waitingFor(): string | undefined;
  close(): Promise<void>;
}

/**
 * Opens a gateway's identity: from disk, or by enrolling in the background for as long as it takes.
 * @throws IsthmusError `invalid` (no identity and no fitting token), `conflict` (identity of another gateway)
 */
export async function openGatewayIdentity(options: OpenGatewayIdentityOptions): Promise<GatewayIdentity> {
  const { stateDir, replica } = options;
  await ensurePrivateDir(stateDir);
  const files = gatewayFiles(stateDir);
  const stored = await files.state.read();
  // An identity that ran out cannot renew itself; a new token can.
  const token = stored && lastsBeyond(stored, options.clock.now()) ? undefined : gatewayToken(options);
  const known = stored ?? token;
  if (!known) {
    throw new IsthmusError('invalid', `There is no identity in ${stateDir} and no token to get one`, {
      hint: 'Issue a token for this gateway at its agent.',
    });
  }
  if (stored && token && stored.cluster !== token.cluster) {
    throw new IsthmusError(
      'conflict',
      `${stateDir} is of cluster ${stored.cluster}, the token is for ${token.cluster}`,
    );
  }
  if (stored && stored.instance !== replica) {
    throw new IsthmusError('conflict', `${stateDir} is the identity of gateway ${stored.instance}, not ${replica}`);
  }
  const { cluster, federationDomain } = known;
  const agentAddresses = [options.agentAddresses, token?.addresses, stored?.agentAddresses].find(
    (each) => each?.length,
  );
  const gateway = new Gateway(options, { files, cluster, federationDomain, agentAddresses: agentAddresses ?? [] });
  if (stored) await gateway.restore(stored);
  gateway.start(token);
  return gateway;
}

function gatewayToken(options: OpenGatewayIdentityOptions): GatewayToken | undefined {
  if (options.token === undefined) return undefined;
  const token = decodeJoinToken(options.token);
  if (token.kind !== 'gateway') throw new IsthmusError('invalid', 'The token is for a cluster, not for a gateway');
  if (token.gateway !== options.replica) {
    throw new IsthmusError('invalid', `The token is for gateway ${token.gateway}, not ${options.replica}`);
  }
  return token;
}

interface GatewayContext {
  readonly files: GatewayFiles;
  readonly cluster: ClusterName;
  readonly federationDomain: TrustDomain;
  readonly agentAddresses: readonly string[];
}

class Gateway implements GatewayIdentity {
  readonly cluster: ClusterName;
  readonly instance: ReplicaName;
  readonly federationDomain: TrustDomain;
  readonly agentAddresses: readonly string[];
  readonly verifier: PeerVerifier;
  readonly credentials: ChannelCredentials;
  readonly #options: OpenGatewayIdentityOptions;
  readonly #files: GatewayFiles;
  readonly #domain: TrustDomain;
  readonly #svid = new Watchable<Svid | undefined>(undefined);
  readonly #trust = new Watchable<TrustState | undefined>(undefined);
  /** Like `#trust`, but knows the agent from the anchors alone. */
  readonly #base = new Watchable<TrustState | undefined>(undefined);
  readonly #material = new Watchable<TlsMaterial | undefined>(undefined);
  readonly #stop = new AbortController();
  #anchors: readonly Uint8Array[] = [];
  #holder: RosterHolder | undefined;
  #held: Svid | undefined;
  #renewAt = Number.POSITIVE_INFINITY;
  #problem: string | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: OpenGatewayIdentityOptions, context: GatewayContext) {
    const { files, cluster, federationDomain, agentAddresses } = context;
    this.#options = options;
    this.#files = files;
    this.cluster = cluster;
    this.instance = options.replica;
    this.federationDomain = federationDomain;
    this.agentAddresses = agentAddresses;
    this.#domain = clusterTrustDomain(cluster, federationDomain);
    this.verifier = createPeerVerifier(this.#trust, options.clock);
    this.credentials = channelCredentials({ material: this.#material, withIdentity: true, check: this.#agentCheck() });
  }

  get svid(): SvidSource {
    return this.#svid;
  }

  get material(): Watch<TlsMaterial | undefined> {
    return this.#material;
  }

  get trust(): TrustSource {
    return this.#trust;
  }

  waitingFor(): string | undefined {
    if (!this.#held) return `an identity from the agent of ${this.cluster}${this.#because()}`;
    if (!this.#svid.current) return `renewal of the expired identity by the agent of ${this.cluster}${this.#because()}`;
    if (!this.#trust.current) return `the roster from the agent of ${this.cluster}`;
    return undefined;
  }

  acceptTrust(update: TrustUpdate): void {
    const { log } = this.#options;
    const holder = this.#holder;
    if (!holder) {
      log.warn({}, 'a roster came before there are anchors to verify it');
      return;
    }
    try {
      checkTrustUpdate(update);
    } catch (thrown) {
      log.warn({ why: messageOf(thrown) }, 'a roster was not taken');
      return;
    }
    // The anchors of the update are not looked at: the pinned one stays until a rotation proves another.
    const offer = holder.offer(update.sealedRoster, update.rosterChain);
    if ('detail' in offer) log.warn({ result: offer.result, why: offer.detail }, 'a roster was not taken');
    if (offer.result !== 'accepted') return;
    log.info({ sequence: holder.roster?.sequence }, 'new roster');
    this.#files.roster
      .write({ version: 1, sealed: toBase64(update.sealedRoster), chain: toBase64(update.rosterChain) })
      .catch((thrown: unknown) => log.error({ why: messageOf(thrown) }, 'cannot keep the roster on disk'));
  }

  /** Takes up the identity on disk, though it may have expired. */
  async restore(stored: GatewayState): Promise<void> {
    this.#useAnchors(stored.anchors);
    const roster = await this.#files.roster.read();
    if (roster) this.acceptTrust({ sealedRoster: roster.sealed, rosterChain: roster.chain, anchors: stored.anchors });
    this.#use(svidOf(this.#id, stored));
  }

  start(token: GatewayToken | undefined): void {
    this.#running = this.#run(token);
  }

  async close(): Promise<void> {
    this.#stop.abort(new IsthmusError('cancelled', 'The gateway is closing'));
    await this.#running;
    await this.#files.roster.settled();
  }

  get #id(): SpiffeId {
    return roleId(this.#domain, 'gateway', this.instance);
  }

  #because(): string {
    return this.#problem === undefined ? '' : ` (${this.#problem})`;
  }

  /**
   * The agent is recognised by its trust domain, not by the roster's list of keys: the roster comes from the agent, and
   * a gateway that missed a renewal of its agent's intermediate could never learn of it.
   */
  #agentCheck(): ReturnType<typeof peerCheck> {
    const verifier = createPeerVerifier(this.#base, this.#options.clock, { binding: 'trust-domain' });
    const isAgent = (id: SpiffeId): boolean => trustDomainOf(id) === this.#domain && roleOf(id)?.role === 'agent';
    return peerCheck(verifier, `an agent of ${this.cluster}`, isAgent);
  }

  #useAnchors(anchors: readonly Uint8Array[]): void {
    const { federationDomain } = this;
    const holder = new RosterHolder({ federationDomain, anchors, clock: this.#options.clock, own: this.#domain });
    this.#anchors = anchors;
    this.#holder = holder;
    this.#base.set(holder.base.current);
    // Ends with the holder, which lives as long as this.
    holder.base.subscribe((trust) => this.#base.set(trust));
    holder.trust.subscribe((trust) => this.#trust.set(trust));
  }

  #use(svid: Svid): void {
    const { clock } = this.#options;
    this.#held = svid;
    this.#renewAt = renewAt(svid, clock.random());
    const alive = clock.now() <= svid.notAfter;
    this.#svid.set(alive ? svid : undefined);
    if (alive) this.#material.set({ identity: svid, anchors: this.#anchors });
  }

  async #run(token: GatewayToken | undefined): Promise<void> {
    const { clock, log } = this.#options;
    const backoff = new Backoff({ initialMs: 200, maxMs: 15_000 }, () => clock.random());
    let retryAt = 0;
    for (let attempt = 0; !this.#stop.signal.aborted; ) {
      this.#expire();
      const due = !this.#held || clock.now() >= this.#renewAt;
      if (due && clock.monotonic() >= retryAt) {
        try {
          if (this.#svid.current || !token) await this.#renew(this.#address(attempt));
          else await this.#enroll(token, this.#address(attempt));
          if (this.#problem !== undefined) log.info({}, 'identity is here after all');
          this.#problem = undefined;
          backoff.reset();
        } catch (thrown) {
          if (this.#stop.signal.aborted) break;
          const problem = messageOf(thrown);
          if (problem !== this.#problem) log.warn({ why: problem }, 'cannot get an identity from the agent yet');
          this.#problem = problem;
          retryAt = clock.monotonic() + backoff.next();
        }
        attempt += 1;
      }
      await sleep(clock, this.#pause(retryAt), this.#stop.signal);
    }
  }

  #pause(retryAt: number): number {
    const { clock } = this.#options;
    const now = clock.now();
    const retry = now + Math.max(0, retryAt - clock.monotonic());
    const next = this.#held ? Math.max(this.#renewAt, retry) : retry;
    const end = this.#svid.current?.notAfter;
    return pauseUntil(now, end === undefined ? [next] : [next, end + 1]);
  }

  #expire(): void {
    const svid = this.#svid.current;
    if (!svid || this.#options.clock.now() <= svid.notAfter) return;
    this.#options.log.error({ id: svid.id }, 'own identity expired');
    this.#svid.set(undefined);
  }

  #address(attempt: number): string {
    const address = this.agentAddresses[attempt % Math.max(1, this.agentAddresses.length)];
    if (address === undefined) throw new IsthmusError('invalid', `No address of an agent of ${this.cluster} is known`);
    return address;
  }

  async #enroll(token: GatewayToken, address: string): Promise<void> {
    if (token.expiresAt <= this.#options.clock.now()) {
      throw new IsthmusError('unauthenticated', `the token expired at ${new Date(token.expiresAt).toISOString()}`);
    }
    const { signal } = this.#stop;
    const { rootSha256, secret } = token;
    const anchor = await fetchPinnedAnchor({ address, rootSha256, timeoutMs: callTimeoutMs, signal });
    // The token is the newest word of the operator: its anchor replaces one of an earlier life.
    const [known] = this.#anchors;
    if (!known || fingerprintOf(known) !== rootSha256) this.#useAnchors([anchor]);
    const credentials = channelCredentials({
      material: new Watchable({ anchors: [anchor] }),
      withIdentity: false,
      check: this.#agentCheck(),
    });
    await this.#ask(enrollMethod, { address, credentials }, (csr) => ({
      replica: this.instance,
      secret: Buffer.from(secret),
      csr,
    }));
    this.#options.log.info({ id: this.#id }, 'enrolled');
  }

  async #renew(address: string): Promise<void> {
    await this.#ask(renewMethod, { address, credentials: this.credentials }, (csr) => ({ csr }));
    this.#options.log.info({ id: this.#id, notAfter: this.#held?.notAfter }, 'identity renewed');
  }

  /** One request with a new key; what comes back is verified, written and only then used. */
  async #ask<Request>(
    method: MethodDefinition<Request, SvidResponse>,
    to: { readonly address: string; readonly credentials: ChannelCredentials },
    requestOf: (csr: Buffer) => Request,
  ): Promise<void> {
    const keyPem = generateKeyPem();
    const csr = Buffer.from(createCsr(signerOf(keyPem)));
    const client = new Client(to.address, to.credentials, channelOptions);
    let response: SvidResponse;
    try {
      const limits = { timeoutMs: callTimeoutMs, signal: this.#stop.signal };
      response = await callUnary(client, method, requestOf(csr), limits);
    } finally {
      client.close();
    }
    const { cluster, instance, federationDomain, agentAddresses } = this;
    const anchors = this.#anchors;
    const chain = response.chain.slice(0, 2);
    const state = { version: 1, cluster, instance, federationDomain, agentAddresses, anchors, chain, keyPem } as const;
    const svid = svidOf(this.#id, state);
    if (response.trust) this.acceptTrust(response.trust);
    this.#checkOwn(svid);
    await this.#files.state.write(encodeGatewayState(state));
    this.#use(svid);
  }

  /** That a new SVID is ours and that others with our trust would take it. */
  #checkOwn(svid: Svid): void {
    const trust = this.#base.current;
    const path = trust && verifyPath(svid.chain, trust, { binding: 'trust-domain' });
    const late = path?.ok ? checkTime(path, this.#options.clock.now()) : undefined;
    const ours = path?.ok && path.id === this.#id && Buffer.from(path.leaf.spki).equals(signerOf(svid.keyPem).spki);
    if (ours && !late) return;
    const why = late?.detail ?? (path && !path.ok ? `${path.reason}: ${path.detail}` : 'it is for somebody else');
    throw new IsthmusError('corrupt', `The agent answered with an unusable certificate: ${why}`);
  }
}

function lastsBeyond({ chain }: GatewayState, now: number): boolean {
  return now <= readCertificate(chain[0] ?? new Uint8Array()).notAfter;
}

function svidOf(id: SpiffeId, { chain, keyPem }: GatewayState): Svid {
  const { notBefore, notAfter } = readCertificate(chain[0] ?? new Uint8Array());
  return { id, chain, keyPem, notBefore, notAfter };
}
