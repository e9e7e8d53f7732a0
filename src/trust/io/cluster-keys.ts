import { IsthmusError, messageOf } from '../../model/error.ts';
import { clusterTrustDomain, roleId, type SpiffeId, type TrustDomain } from '../../model/identity.ts';
import type { Sealer } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { KeyId, Svid } from '../../model/trust.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { type Issuance, ownHand } from '../issue/issuance.ts';
import { renewAt } from '../renewal.ts';
import { keyIdOf } from '../x509/certificate.ts';
import { readCertificate } from '../x509/read.ts';
import type { AgentFiles, Membership } from './agent-files.ts';
import {
  type Activation,
  ClusterIntermediates,
  type ClusterIntermediatesOptions,
  type IntermediateRequest,
  type PendingIntermediate,
} from './cluster-intermediates.ts';
import { type Issued, type Issuer, issue } from './issuer.ts';
import { generateKeyPem, signerOf } from './keys.ts';
import { createSealer } from './sealer.ts';
import { toBase64 } from './state-file.ts';

export interface ClusterKeysOptions
  extends Pick<ClusterIntermediatesOptions, 'clock' | 'svidLifeMs' | 'activationMaxMs' | 'missingAcks'> {
  readonly files: AgentFiles;
  readonly membership: Membership;
  /** DNS names on the agent's own certificate. */
  readonly serverNames: readonly string[];
  readonly onActivated: (activation: Activation) => Promise<void>;
  /** That the wall clock is right. @throws IsthmusError `unavailable` */
  readonly requireClock: () => Promise<void>;
  /** Puts down what was signed; nothing is handed out before. */
  readonly record: (issuance: Issuance, who: string) => Promise<void>;
}

/** A leaf to be signed. */
export interface LeafOrder {
  readonly profile: 'leaf' | 'seal';
  readonly id: SpiffeId;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** Default: the longest that this agent grants. */
  readonly lifeMs?: number;
  /** DNS names beside the id: never of a requester's choice. */
  readonly dnsNames?: readonly string[];
  /** Who asked for it, for the journal. */
  readonly who: string;
}

/** A signed leaf that is in the journal. */
export interface IssuedLeaf {
  /** DER, leaf first, without the anchor. */
  readonly chain: readonly Uint8Array[];
  /** Wall clock in ms. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A leaf of this replica with the moment of its renewal. */
interface Held {
  readonly svid: Svid;
  readonly renewAt: number;
}

/** The keys of one agent replica: its intermediates, and the leaves that it issues to itself and to others. */
export class ClusterKeys {
  readonly #options: ClusterKeysOptions;
  readonly #domain: TrustDomain;
  readonly #intermediates: ClusterIntermediates;
  readonly #agentSvid = new Watchable<Svid | undefined>(undefined);
  readonly #sealer = new Watchable<Sealer | undefined>(undefined);
  #agent: Held | undefined;
  #seal: Held | undefined;

  private constructor(options: ClusterKeysOptions, domain: TrustDomain, intermediates: ClusterIntermediates) {
    this.#options = options;
    this.#domain = domain;
    this.#intermediates = intermediates;
  }

  /** @throws IsthmusError `not-found` before a join, `corrupt` for damaged files */
  static async open(options: ClusterKeysOptions): Promise<ClusterKeys> {
    const { files, membership, clock, svidLifeMs, activationMaxMs, missingAcks } = options;
    const { cluster, federationDomain, anchors } = membership;
    const trustDomain = clusterTrustDomain(cluster, federationDomain);
    const rules = { clock, svidLifeMs, activationMaxMs, missingAcks };
    const file = files.intermediates;
    const intermediates = await ClusterIntermediates.open({ file, trustDomain, anchors, ...rules });
    const keys = new ClusterKeys(options, trustDomain, intermediates);
    await keys.#loadSeal();
    return keys;
  }

  get #issuer(): Issuer {
    return this.#intermediates.issuer;
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
    return this.#intermediates.isDue;
  }

  /** Wall clock in ms of everything that `maintain` will have to do. */
  get due(): readonly number[] {
    const leaves = [this.#agent, this.#seal].flatMap((held) => (held ? [held.renewAt, held.svid.notAfter] : []));
    const now = this.#options.clock.now();
    return [this.#intermediates.dueAt, ...leaves].filter((at) => at > now);
  }

  /** The intermediate that waits; undefined: none does. */
  get pending(): PendingIntermediate | undefined {
    return this.#intermediates.pending;
  }

  /** A request for the next intermediate; its key is the same until it is brought into use. */
  nextRequest(): Promise<IntermediateRequest> {
    return this.#intermediates.nextRequest();
  }

  /** Signs a leaf, with its entry in the journal. @throws IsthmusError `unavailable` once the intermediate expired, when the clock jumped, or when the journal cannot be written */
  async issueLeaf(order: LeafOrder): Promise<IssuedLeaf> {
    await this.#options.requireClock();
    const { id, spki, who } = order;
    const issuer = this.#issuer;
    const { certificate, serial, notBefore, notAfter } = this.#sign(issuer, order);
    await this.#options.record({ id, keyId: keyIdOf(spki), issuer: issuer.signer.keyId, serial, notAfter }, who);
    return { chain: [certificate, issuer.certificate], notBefore, notAfter };
  }

  /** Activates, renews and retires what is due. */
  async maintain(): Promise<void> {
    const activation = await this.#intermediates.activateWhenKnown();
    if (activation) {
      this.#agent = undefined;
      this.#seal = undefined;
      await this.#options.onActivated(activation);
    }
    const now = this.#options.clock.now();
    await this.#maintainSeal(now);
    await this.#maintainAgent(now);
  }

  #sign(issuer: Issuer, { profile, id, spki, lifeMs, dnsNames }: LeafOrder): Issued {
    const { clock, svidLifeMs } = this.#options;
    const { notAfter } = issuer.parts;
    // Back-dating would let a certificate be made that has ended already.
    if (clock.now() >= notAfter) {
      const ended = `its intermediate ended at ${new Date(notAfter).toISOString()}`;
      throw new IsthmusError('unavailable', `Cannot issue for ${id}: ${ended}`);
    }
    try {
      return issue(issuer, {
        profile,
        uri: id,
        spki,
        now: clock.now(),
        ...(dnsNames && { dnsNames }),
        ...(profile === 'leaf' && { lifeMs: Math.min(lifeMs ?? svidLifeMs, svidLifeMs) }),
      });
    } catch (thrown) {
      throw new IsthmusError('unavailable', `Cannot issue for ${id}: ${messageOf(thrown)}`, { cause: thrown });
    }
  }

  async #own(role: 'agent' | 'seal'): Promise<Held> {
    const keyPem = generateKeyPem();
    const id = roleId(this.#domain, role, this.#options.membership.replica);
    const profile = role === 'seal' ? 'seal' : 'leaf';
    const names = role === 'agent' && { dnsNames: this.#options.serverNames };
    const issued = await this.issueLeaf({
      profile,
      id,
      spki: signerOf(keyPem).spki,
      who: ownHand,
      ...names,
    });
    return this.#hold({ id, keyPem, ...issued });
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

  async #maintainAgent(now: number): Promise<void> {
    if (this.#isDue(this.#agent, now) && this.#canIssue(now)) this.#agent = await this.#own('agent');
    const svid = this.#agent?.svid;
    this.#agentSvid.set(svid && now <= svid.notAfter ? svid : undefined);
  }

  async #maintainSeal(now: number): Promise<void> {
    if (this.#isDue(this.#seal, now) && this.#canIssue(now)) {
      const held = await this.#own('seal');
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
}
