import { IsthmusError, messageOf } from '../../model/error.ts';
import { clusterTrustDomain, domainId, roleId, type TrustDomain } from '../../model/identity.ts';
import type { ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Sealer } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { KeyId, Svid } from '../../model/trust.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { renewAt } from '../renewal.ts';
import { uriNames } from '../verify/svid-profile.ts';
import { caKeyId, readCertificate } from '../x509/read.ts';
import type { AgentFiles, Intermediates, KeyedCertificate, Membership } from './agent-files.ts';
import type { IntermediateResponse } from './authority-api.ts';
import { type Issued, type Issuer, issue, issuerOf } from './issuer.ts';
import { createCsr, generateKeyPem, signerOf } from './keys.ts';
import { createSealer } from './sealer.ts';
import { toBase64 } from './state-file.ts';

export interface ClusterKeysOptions {
  readonly files: AgentFiles;
  readonly membership: Membership;
  readonly clock: Clock;
  /** Life of the agent's and the gateways' SVIDs in ms. */
  readonly svidLifeMs?: number;
  /** How long a new intermediate waits until all members may be expected to know it, in ms. */
  readonly activationDelayMs: number;
}

/** A request under way. */
export interface IntermediateRequest {
  /** DER. */
  readonly csr: Uint8Array;
  /** Keeps what was answered. @throws IsthmusError `corrupt`, `conflict` if it cannot be used */
  readonly accept: (response: IntermediateResponse) => Promise<void>;
}

/** A leaf of this replica with the moment of its renewal. */
interface Held {
  readonly svid: Svid;
  readonly renewAt: number;
}

/** The keys of one agent replica: its intermediate(s), and the leaves that it issues to itself. */
export class ClusterKeys {
  readonly #options: ClusterKeysOptions;
  readonly #domain: TrustDomain;
  readonly #agentSvid = new Watchable<Svid | undefined>(undefined);
  readonly #sealer = new Watchable<Sealer | undefined>(undefined);
  #stored: Intermediates;
  #issuer: Issuer;
  #renewIntermediateAt: number;
  #agent: Held | undefined;
  #seal: Held | undefined;

  private constructor(options: ClusterKeysOptions, stored: Intermediates) {
    this.#options = options;
    const { cluster, federationDomain } = options.membership;
    this.#domain = clusterTrustDomain(cluster, federationDomain);
    this.#stored = stored;
    this.#issuer = issuerFrom(stored.active);
    this.#renewIntermediateAt = this.#renewalOf(stored.active);
  }

  /** @throws IsthmusError `not-found` before a join, `corrupt` for damaged files */
  static async open(options: ClusterKeysOptions): Promise<ClusterKeys> {
    const stored = await options.files.intermediates.read();
    if (!stored) {
      throw new IsthmusError('not-found', `${options.files.intermediates.path} is missing: this replica did not join`);
    }
    const keys = new ClusterKeys(options, stored);
    await keys.#loadSeal();
    await keys.maintain();
    return keys;
  }

  get trustDomain(): TrustDomain {
    return this.#domain;
  }

  get agentSvid(): Watch<Svid | undefined> {
    return this.#agentSvid;
  }

  get sealer(): Watch<Sealer | undefined> {
    return this.#sealer;
  }

  /** Wall clock in ms at which the active intermediate ends. */
  get intermediateNotAfter(): number {
    return this.#issuer.parts.notAfter;
  }

  get intermediateKeyId(): KeyId {
    return this.#issuer.signer.keyId;
  }

  get sealNotAfter(): number | undefined {
    return this.#seal?.svid.notAfter;
  }

  /** Whether the authority should be asked for the next intermediate now. */
  get wantsIntermediate(): boolean {
    return this.#stored.pending === undefined && this.#options.clock.now() >= this.#renewIntermediateAt;
  }

  /** Wall clock in ms of everything that `maintain` will have to do. */
  get due(): readonly number[] {
    const { pending } = this.#stored;
    const leaves = [this.#agent, this.#seal].flatMap((held) => (held ? [held.renewAt, held.svid.notAfter] : []));
    const now = this.#options.clock.now();
    return [pending?.activateAt ?? this.#renewIntermediateAt, ...leaves].filter((at) => at > now);
  }

  /** A leaf for one of this cluster's own roles, chain without the anchor. @throws IsthmusError `unavailable` once the intermediate expired */
  issueSvid(role: 'gateway' | 'agent', replica: ReplicaName, spki: Uint8Array): readonly Uint8Array[] {
    return [this.#leaf(role, replica, spki).certificate, this.#issuer.certificate];
  }

  /** Activates, renews and retires what is due. */
  async maintain(): Promise<void> {
    const now = this.#options.clock.now();
    const { pending } = this.#stored;
    if (pending && (now >= pending.activateAt || now >= this.#issuer.parts.notAfter)) await this.#activate(pending);
    await this.#maintainSeal(now);
    this.#maintainAgent(now);
  }

  /** A request for the next intermediate, with a new key that only `accept` brings into use. */
  nextRequest(): IntermediateRequest {
    const keyPem = generateKeyPem();
    const signer = signerOf(keyPem);
    return {
      csr: createCsr(signer),
      accept: async (response) => {
        const certificate = response.chain[0] ?? Buffer.alloc(0);
        const read = readCertificate(certificate);
        if (!Buffer.from(read.spki).equals(signer.spki) || uriNames(read)[0] !== domainId(this.#domain)) {
          throw new IsthmusError('corrupt', 'The authority answered with an intermediate that is not ours');
        }
        // Never one that ends before the present one does: it would be no renewal.
        if (read.notAfter <= this.#issuer.parts.notAfter) {
          throw new IsthmusError('conflict', 'The authority answered with an intermediate that ends no later');
        }
        const activateAt = this.#options.clock.now() + this.#options.activationDelayMs;
        await this.#store({ version: 1, active: this.#stored.active, pending: { certificate, keyPem, activateAt } });
      },
    };
  }

  async #activate({ certificate, keyPem }: KeyedCertificate): Promise<void> {
    const active = { certificate, keyPem };
    // The file no longer holds the old key: it has signed its last leaf.
    await this.#store({ version: 1, active });
    this.#issuer = issuerFrom(active);
    this.#renewIntermediateAt = this.#renewalOf(active);
    this.#agent = undefined;
    this.#seal = undefined;
  }

  async #store(next: Intermediates): Promise<void> {
    const plain = ({ certificate, keyPem }: KeyedCertificate) => ({ certificate: toBase64(certificate), keyPem });
    await this.#options.files.intermediates.write({
      version: 1,
      active: plain(next.active),
      ...(next.pending && { pending: { ...plain(next.pending), activateAt: next.pending.activateAt } }),
    });
    this.#stored = next;
  }

  #leaf(role: 'gateway' | 'agent' | 'seal', replica: ReplicaName, spki: Uint8Array): Issued {
    const { clock, svidLifeMs } = this.#options;
    try {
      return issue(this.#issuer, {
        profile: role === 'seal' ? 'seal' : 'leaf',
        uri: roleId(this.#domain, role, replica),
        spki,
        now: clock.now(),
        ...(svidLifeMs !== undefined && role !== 'seal' && { lifeMs: svidLifeMs }),
      });
    } catch (thrown) {
      throw new IsthmusError('unavailable', `Cannot issue for ${role} ${replica}: ${messageOf(thrown)}`, {
        cause: thrown,
      });
    }
  }

  #own(role: 'agent' | 'seal'): Held {
    const { replica } = this.#options.membership;
    const keyPem = generateKeyPem();
    const { certificate, notBefore, notAfter } = this.#leaf(role, replica, signerOf(keyPem).spki);
    const chain = [certificate, this.#issuer.certificate];
    return this.#hold({ id: roleId(this.#domain, role, replica), chain, keyPem, notBefore, notAfter });
  }

  #hold(svid: Svid): Held {
    return { svid, renewAt: renewAt(svid, this.#options.clock.random()) };
  }

  /** A leaf that lasts as long as its issuer is not renewed by it: it could not get any longer. */
  #isDue(held: Held | undefined, now: number): boolean {
    if (!held) return true;
    return now >= held.renewAt && held.svid.notAfter < this.#issuer.parts.notAfter;
  }

  #canIssue(now: number): boolean {
    // A leaf of less than a second is none.
    return now + 1000 < this.#issuer.parts.notAfter;
  }

  #maintainAgent(now: number): void {
    if (this.#isDue(this.#agent, now) && this.#canIssue(now)) this.#agent = this.#own('agent');
    const svid = this.#agent?.svid;
    this.#agentSvid.set(svid && now <= svid.notAfter ? svid : undefined);
  }

  async #maintainSeal(now: number): Promise<void> {
    if (this.#isDue(this.#seal, now) && this.#canIssue(now)) {
      const held = this.#own('seal');
      const { chain, keyPem } = held.svid;
      await this.#options.files.seal.write({ version: 1, chain: chain.map(toBase64), keyPem });
      this.#seal = held;
      this.#sealer.set(createSealer(held.svid));
    }
    if (this.#seal && now > this.#seal.svid.notAfter) this.#sealer.set(undefined);
  }

  /** The seal leaf survives a restart, so that not every start leaves another chain in the hubs. */
  async #loadSeal(): Promise<void> {
    const stored = await this.#options.files.seal.read();
    const [leaf, issuer] = stored?.chain ?? [];
    if (!stored || !leaf || !issuer || !Buffer.from(issuer).equals(this.#issuer.certificate)) return;
    const { notBefore, notAfter } = readCertificate(leaf);
    const { chain, keyPem } = stored;
    const id = roleId(this.#domain, 'seal', this.#options.membership.replica);
    this.#seal = this.#hold({ id, chain, keyPem, notBefore, notAfter });
    this.#sealer.set(createSealer(this.#seal.svid));
  }

  #renewalOf({ certificate }: KeyedCertificate): number {
    return renewAt(readCertificate(certificate), this.#options.clock.random());
  }
}

function issuerFrom({ certificate, keyPem }: KeyedCertificate): Issuer {
  const signer = signerOf(keyPem);
  if (caKeyId(readCertificate(certificate)) !== signer.keyId) {
    throw new IsthmusError('corrupt', 'The intermediate on disk does not belong to its key');
  }
  return issuerOf(certificate, signer);
}
