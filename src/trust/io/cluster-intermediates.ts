import { IsthmusError } from '../../model/error.ts';
import { domainId, type TrustDomain } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { KeyId } from '../../model/trust.ts';
import { checkIssued } from '../authority/anchor-check.ts';
import { renewAt } from '../renewal.ts';
import { keyIdOf } from '../x509/certificate.ts';
import { caKeyId, readCertificate } from '../x509/read.ts';
import type { AgentFiles, Intermediates, KeyedCertificate } from './agent-files.ts';
import type { IntermediateResponse } from './authority-api.ts';
import { type Issuer, issuerOf } from './issuer.ts';
import { createCsr, generateKeyPem, signerOf } from './keys.ts';
import { toBase64 } from './state-file.ts';

export interface ClusterIntermediatesOptions {
  readonly file: AgentFiles['intermediates'];
  readonly trustDomain: TrustDomain;
  /** DER: what an intermediate must be issued by. */
  readonly anchors: readonly Uint8Array[];
  readonly clock: Clock;
  /** An intermediate that ends sooner, in ms, is not taken into use: its leaves could not live as long as they should. */
  readonly svidLifeMs: number;
  /** Longest wait of a new intermediate for the acknowledgements that it is known, in ms. */
  readonly activationMaxMs: number;
  /** Who has not acknowledged a roster that lists this key yet; empty: it may sign. */
  readonly missingAcks: (keyId: KeyId) => readonly string[];
}

/** A new intermediate begins to sign. */
export interface Activation {
  readonly keyId: KeyId;
  /** Who had not acknowledged it when the wait was over; empty: all had. */
  readonly missing: readonly string[];
  /** Why it signs all the same; undefined: nobody is missing. */
  readonly reason?: string;
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
  readonly accept: (response: IntermediateResponse) => Promise<void>;
}

/** The intermediates of one agent replica: the one that signs, and the one that waits to be known. */
export class ClusterIntermediates {
  readonly #options: ClusterIntermediatesOptions;
  #stored: Intermediates;
  #issuer: Issuer;
  #renewAt: number;

  private constructor(options: ClusterIntermediatesOptions, stored: Intermediates) {
    this.#options = options;
    this.#stored = stored;
    this.#issuer = issuerFrom(stored.active);
    this.#renewAt = this.#renewalOf(stored.active);
  }

  /** @throws IsthmusError `not-found` before a join, `corrupt` for damaged files */
  static async open(options: ClusterIntermediatesOptions): Promise<ClusterIntermediates> {
    const stored = await options.file.read();
    if (stored) return new ClusterIntermediates(options, stored);
    throw new IsthmusError('not-found', `${options.file.path} is missing: this replica did not join`);
  }

  /** The one that signs. */
  get issuer(): Issuer {
    return this.#issuer;
  }

  /** Whether the authority should be asked for the next one now. */
  get isDue(): boolean {
    return this.#stored.pending === undefined && this.#options.clock.now() >= this.#renewAt;
  }

  /** Wall clock in ms at which there is something to do. */
  get dueAt(): number {
    const { pending } = this.#stored;
    return pending ? Math.min(pending.activateAt, this.#options.clock.now() + ackCheckMs) : this.#renewAt;
  }

  /** The one that waits; undefined: none does. */
  get pending(): PendingIntermediate | undefined {
    const { pending } = this.#stored;
    if (!pending) return undefined;
    const keyId = keyIdOfCa(pending);
    return { keyId, missing: this.#options.missingAcks(keyId), activateAt: pending.activateAt };
  }

  /** A request for the next intermediate; its key is the same until `accept` brings it into use. */
  async nextRequest(): Promise<IntermediateRequest> {
    const { active, pending, requestedKeyPem: kept } = this.#stored;
    const keyPem = kept ?? generateKeyPem();
    if (kept === undefined) await this.#store({ version: 1, active, pending, requestedKeyPem: keyPem });
    return {
      csr: createCsr(signerOf(keyPem)),
      accept: async (response) => {
        await this.#accept(response, keyPem).catch(async (thrown: unknown) => {
          // The same key would be answered with the same certificate: the next attempt needs another one.
          await this.#store({ version: 1, active: this.#stored.active, pending: this.#stored.pending });
          throw thrown;
        });
      },
    };
  }

  async #accept(response: IntermediateResponse, keyPem: string): Promise<void> {
    const { clock, svidLifeMs, activationMaxMs, trustDomain, anchors } = this.#options;
    const now = clock.now();
    const certificate = response.chain[0] ?? Buffer.alloc(0);
    const { issuer, nameConstraints } = readCertificate(certificate);
    const anchor = anchors.find((each) => Buffer.from(readCertificate(each).subject).equals(issuer));
    const { notAfter } = checkIssued(certificate, {
      profile: 'intermediate',
      uri: domainId(trustDomain),
      spki: signerOf(keyPem).spki,
      permitted: nameConstraints ? trustDomain : undefined,
      anchor: anchor ?? anchors[0] ?? new Uint8Array(),
      now,
    });
    // Never one that ends before the present one does: it would be no renewal.
    if (notAfter <= this.#issuer.parts.notAfter) {
      throw new IsthmusError('conflict', 'The authority answered with an intermediate that ends no later');
    }
    if (notAfter - now < svidLifeMs) {
      const ends = new Date(notAfter).toISOString();
      throw new IsthmusError(
        'conflict',
        `The new intermediate ends at ${ends}, before a leaf of ${svidLifeMs} ms could`,
      );
    }
    const activateAt = now + activationMaxMs;
    await this.#store({ version: 1, active: this.#stored.active, pending: { certificate, keyPem, activateAt } });
  }

  /**
   * Lets the one that waits sign, once it may. Peers refuse what a key signs until their roster lists it: hence it waits
   * for their word that it does. Undefined: nothing has changed.
   */
  async activateWhenKnown(): Promise<Activation | undefined> {
    const { pending } = this.#stored;
    if (!pending) return undefined;
    const now = this.#options.clock.now();
    const keyId = keyIdOfCa(pending);
    const missing = this.#options.missingAcks(keyId);
    const expired = this.#issuer.parts.notAfter <= now;
    if (missing.length > 0 && now < pending.activateAt && !expired) return undefined;
    const { certificate, keyPem } = pending;
    const active = { certificate, keyPem };
    // The file no longer holds the old key: it has signed its last leaf.
    await this.#store({ version: 1, active });
    this.#issuer = issuerFrom(active);
    this.#renewAt = this.#renewalOf(active);
    const reason = expired ? 'the present one has expired' : 'the longest wait is over';
    return { keyId, missing, ...(missing.length > 0 && { reason }) };
  }

  async #store(next: Intermediates): Promise<void> {
    const plain = ({ certificate, keyPem }: KeyedCertificate) => ({ certificate: toBase64(certificate), keyPem });
    await this.#options.file.write({
      version: 1,
      active: plain(next.active),
      ...(next.pending && { pending: { ...plain(next.pending), activateAt: next.pending.activateAt } }),
      ...(next.requestedKeyPem !== undefined && { requestedKeyPem: next.requestedKeyPem }),
    });
    this.#stored = next;
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
