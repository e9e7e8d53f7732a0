import { IsthmusError, messageOf } from '../../model/error.ts';
import { clusterTrustDomain, domainId, roleId, type SpiffeId, type TrustDomain } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Sealer } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { KeyId, Svid } from '../../model/trust.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { type Issuance, ownHand } from '../issue/issuance.ts';
import { renewAt } from '../renewal.ts';
import { uriNames } from '../verify/svid-profile.ts';
import { keyIdOf } from '../x509/certificate.ts';
import { backdateMs } from '../x509/profiles.ts';
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
  /** Longest life of SVIDs in ms; an intermediate that ends sooner is not taken into use. */
  readonly svidLifeMs: number;
  /** DNS names on the agent's own certificate. */
  readonly serverNames: readonly string[];
  /** Longest wait of a new intermediate for the acknowledgements that it is known, in ms. */
  readonly activationMaxMs: number;
  /** Who has not acknowledged a roster that lists this key yet; empty: it may sign. */
  readonly missingAcks: (keyId: KeyId) => readonly string[];
  readonly onActivated: (activation: Activation) => Promise<void>;
  /** Puts down what was signed; nothing is handed out before. */
  readonly record: (issuance: Issuance, who: string) => Promise<void>;
}

/** A new intermediate begins to sign. */
export interface Activation {
  readonly keyId: KeyId;
  /** Who had not acknowledged it when the wait was over; empty: all had. */
  readonly missing: readonly string[];
  /** Why it signs all the same; undefined: nobody is missing. */
  readonly reason?: string;
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

/** An intermediate that waits for its acknowledgements. */
export interface PendingIntermediate {
  readonly keyId: KeyId;
  readonly missing: readonly string[];
  /** Wall clock in ms at which it signs whoever is missing. */
  readonly activateAt: number;
}

/** While an intermediate waits, its acknowledgements are looked at this often, in ms. */
const ackCheckMs = 250;

/** A request under way. */
export interface IntermediateRequest {
  /** DER. */
  readonly csr: Uint8Array;
  /** Keeps what was answered. @throws IsthmusError `corrupt`, `conflict` if it cannot be used */
  readonly accept: (response: IntermediateResponse) => Promise<Accepted>;
}

/** A new intermediate that waits to be known. */
export interface Accepted {
  /** About the authority's wall clock in ms when it signed; certificates tell whole seconds. */
  readonly signedAt: number;
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
    const next = pending ? Math.min(pending.activateAt, now + ackCheckMs) : this.#renewIntermediateAt;
    return [next, ...leaves].filter((at) => at > now);
  }

  /** The intermediate that waits; undefined: none does. */
  get pending(): PendingIntermediate | undefined {
    const { pending } = this.#stored;
    if (!pending) return undefined;
    const keyId = keyIdOfCa(pending);
    return { keyId, missing: this.#options.missingAcks(keyId), activateAt: pending.activateAt };
  }

  /** Signs a leaf, with its entry in the journal. @throws IsthmusError `unavailable` once the intermediate expired, or when the journal cannot be written */
  async issueLeaf(order: LeafOrder): Promise<IssuedLeaf> {
    const { id, spki, who } = order;
    const issuer = this.#issuer;
    const { certificate, serial, notBefore, notAfter } = this.#sign(issuer, order);
    await this.#options.record({ id, keyId: keyIdOf(spki), issuer: issuer.signer.keyId, serial, notAfter }, who);
    return { chain: [certificate, issuer.certificate], notBefore, notAfter };
  }

  /** Activates, renews and retires what is due. */
  async maintain(): Promise<void> {
    const now = this.#options.clock.now();
    const { pending } = this.#stored;
    if (pending) await this.#activateWhenKnown(pending, now);
    await this.#maintainSeal(now);
    await this.#maintainAgent(now);
  }

  /** A request for the next intermediate; its key is the same until `accept` brings it into use. */
  async nextRequest(): Promise<IntermediateRequest> {
    const { active, pending, requestedKeyPem: kept } = this.#stored;
    const keyPem = kept ?? generateKeyPem();
    if (kept === undefined) await this.#store({ version: 1, active, pending, requestedKeyPem: keyPem });
    return {
      csr: createCsr(signerOf(keyPem)),
      accept: async (response) => {
        const accepted = await this.#accept(response, keyPem).catch(async (thrown: unknown) => {
          // The same key would be answered with the same certificate: the next attempt needs another one.
          await this.#store({ version: 1, active: this.#stored.active, pending: this.#stored.pending });
          throw thrown;
        });
        return accepted;
      },
    };
  }

  async #accept(response: IntermediateResponse, keyPem: string): Promise<Accepted> {
    const certificate = response.chain[0] ?? Buffer.alloc(0);
    const read = readCertificate(certificate);
    if (!Buffer.from(read.spki).equals(signerOf(keyPem).spki) || uriNames(read)[0] !== domainId(this.#domain)) {
      throw new IsthmusError('corrupt', 'The authority answered with an intermediate that is not ours');
    }
    // Never one that ends before the present one does: it would be no renewal.
    if (read.notAfter <= this.#issuer.parts.notAfter) {
      throw new IsthmusError('conflict', 'The authority answered with an intermediate that ends no later');
    }
    const { clock, svidLifeMs, activationMaxMs } = this.#options;
    const now = clock.now();
    if (read.notAfter - now < svidLifeMs) {
      const ends = new Date(read.notAfter).toISOString();
      throw new IsthmusError(
        'conflict',
        `The new intermediate ends at ${ends}, before a leaf of ${svidLifeMs} ms could`,
      );
    }
    const activateAt = now + activationMaxMs;
    await this.#store({ version: 1, active: this.#stored.active, pending: { certificate, keyPem, activateAt } });
    return { signedAt: read.notBefore + backdateMs };
  }

  /** Peers refuse what a key signs until their roster lists it: hence it waits for their word that it does. */
  async #activateWhenKnown(pending: KeyedCertificate & { readonly activateAt: number }, now: number): Promise<void> {
    const keyId = keyIdOfCa(pending);
    const missing = this.#options.missingAcks(keyId);
    const reason = this.#issuer.parts.notAfter <= now ? 'the present one has expired' : 'the longest wait is over';
    const late = now >= pending.activateAt || this.#issuer.parts.notAfter <= now;
    if (missing.length > 0 && !late) return;
    await this.#activate(pending);
    await this.#options.onActivated({ keyId, missing, ...(missing.length > 0 && { reason }) });
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
      ...(next.requestedKeyPem !== undefined && { requestedKeyPem: next.requestedKeyPem }),
    });
    this.#stored = next;
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

  #renewalOf({ certificate }: KeyedCertificate): number {
    return renewAt(readCertificate(certificate), this.#options.clock.random());
  }
}

function keyIdOfCa({ certificate }: KeyedCertificate): KeyId {
  return keyIdOf(readCertificate(certificate).spki);
}

function issuerFrom({ certificate, keyPem }: KeyedCertificate): Issuer {
  const signer = signerOf(keyPem);
  if (caKeyId(readCertificate(certificate)) !== signer.keyId) {
    throw new IsthmusError('corrupt', 'The intermediate on disk does not belong to its key');
  }
  return issuerOf(certificate, signer);
}
