import { IsthmusError } from '../../model/error.ts';
import {
  clusterTrustDomain,
  domainId,
  roleOf,
  type SpiffeId,
  type TrustDomain,
  trustDomainOf,
} from '../../model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, type ReplicaName } from '../../model/names.ts';
import type { Attestation, Attestor, Evidence } from '../../model/ports/attestor.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { KeyId } from '../../model/trust.ts';
import type { AuditEntry } from '../audit.ts';
import { agentAttestor, createJoinTokenAttestor } from '../authority/attest.ts';
import type { AuthorityBook } from '../authority/book.ts';
import type { Change, JoinTokenEntry, PendingEntry } from '../authority/change.ts';
import { isOpen, tokenHash, unusableToken } from '../authority/join-tokens.ts';
import { admittedMember, requireActive, requireAdmissible } from '../authority/members.ts';
import { attestCaller } from '../issue/attest-caller.ts';
import { type Admitted, CsrGate } from '../issue/csr-gate.ts';
import { RequestLimiter, type RequestLimits } from '../issue/request-limiter.ts';
import { caName } from '../x509/certificate.ts';
import { maxDerBytes } from '../x509/der.ts';
import { profiles } from '../x509/profiles.ts';
import { fingerprintOf, readCertificate } from '../x509/read.ts';
import type { AuthorityLedger, Ruling } from './authority-ledger.ts';
import type { Refusals } from './authority-refusals.ts';
import { type Issuer, issue } from './issuer.ts';
import { RequestSlices } from './request-slices.ts';

/** Live intermediates of one replica: the present one, the next, and some that run out; and of all its replicas. */
const maxIntermediatesPerReplica = 8;
const maxIntermediatesPerCluster = 64;

/** Default rates: a storm of 500 newcomers behind one address passes, a flood does not. */
export const authorityLimits: RequestLimits = {
  global: { perSecond: 500, burst: 2000 },
  renewalReserve: 0.5,
  source: { perSecond: 50, burst: 1000 },
  identity: { perSecond: 2, burst: 150 },
};

export interface AuthorityIssuanceOptions {
  readonly ledger: AuthorityLedger;
  /** Undefined: the root signs by file. */
  readonly root: Issuer | undefined;
  /** DER. */
  readonly anchor: Uint8Array;
  readonly federationDomain: TrustDomain;
  readonly refusals: Refusals;
  readonly clock: Clock;
  /** Whether intermediates carry name constraints. */
  readonly nameConstraints: boolean;
  readonly intermediateLifeMs?: number;
  readonly limits: RequestLimits;
}

export interface JoinCommand {
  readonly cluster: string;
  readonly replica: string;
  readonly secret: Uint8Array;
  readonly csr: Uint8Array;
  /** Address of the caller. */
  readonly from: string;
}

export interface RenewCommand {
  /** As its present intermediate proves. */
  readonly id: SpiffeId;
  readonly cluster: ClusterName | undefined;
  readonly csr: Uint8Array;
  readonly from: string;
}

/** A certificate, or the word that an offline root has yet to sign it: ask again with the same key. */
export type IssueAnswer = { readonly certificate: Uint8Array } | { readonly pending: true };

/** Somebody who may get an intermediate. */
interface Applicant {
  readonly kind: PendingEntry['kind'];
  readonly cluster: ClusterName;
  readonly replica: ReplicaName;
  readonly keyId: KeyId;
  readonly spki: Uint8Array;
  readonly csr: Uint8Array;
  readonly rejoin: boolean;
  readonly who: string;
}

type Entry = Omit<AuditEntry, 'at'>;

/** Decides on requests for intermediates: each decision is durable, with its entry in the journal, before anyone hears of it. */
export class AuthorityIssuance {
  readonly #options: AuthorityIssuanceOptions;
  readonly #limiter: RequestLimiter;
  readonly #gate: CsrGate;
  readonly #attestors: readonly Attestor[];
  readonly #slices: RequestSlices;

  constructor(options: AuthorityIssuanceOptions) {
    this.#options = options;
    const { clock, anchor, limits, federationDomain } = options;
    const lifeMs = options.intermediateLifeMs ?? profiles.intermediate.lifeMs;
    const { subjectKeyId: anchorKeyId } = readCertificate(anchor);
    this.#limiter = new RequestLimiter(limits, clock.monotonic());
    this.#attestors = [createJoinTokenAttestor((hash) => this.#book.token(hash), federationDomain), agentAttestor];
    this.#slices = new RequestSlices(clock);
    this.#gate = new CsrGate({
      limiter: this.#limiter,
      keyTypes: ['p256'],
      keyProblem: (keyId) => {
        if (keyId === anchorKeyId) return `key ${keyId} is the root's own`;
        return this.#book.isDenied(keyId) ? `key ${keyId} is denied` : undefined;
      },
      life: { minMs: lifeMs, maxMs: lifeMs },
    });
  }

  get #book(): AuthorityBook {
    return this.#options.ledger.book;
  }

  /**
   * Redeems a token for the first intermediate of a replica; DER. The same key may ask again with the same token: the
   * answer may have been lost, or an offline root may not have signed yet.
   * @throws IsthmusError `unauthenticated` (unknown, used, expired token), `denied`, `conflict`, `invalid`, `exhausted`
   */
  join({ from, csr, secret, ...named }: JoinCommand): Promise<IssueAnswer> {
    const caller = { kind: 'stranger', who: from, subject: named.cluster.slice(0, 63) } as const;
    return this.#options.refusals.answer(caller, async () => {
      const attestation = await this.#attest(csr, from, { secret });
      const cluster = parseClusterName(named.cluster);
      const replica = parseReplicaName(named.replica);
      const admitted = await this.#admit(csr, attestation);
      const token = this.#book.token(tokenHash(secret));
      if (!token || token.cluster !== cluster) {
        throw new IsthmusError('denied', `The join token is for cluster ${token?.cluster ?? '(none)'}, not ${cluster}`);
      }
      const who = `${attestation.by} from ${from}`;
      return this.#redeem(token, { kind: 'join', cluster, replica, ...admitted, csr, rejoin: token.rejoin, who });
    });
  }

  async #redeem(token: JoinTokenEntry, applicant: Applicant): Promise<IssueAnswer> {
    const now = this.#options.clock.now();
    const { cluster, replica, keyId, who } = applicant;
    const again = token.usedBy === keyId ? this.#answered(applicant) : undefined;
    if (again) return again;
    if (!isOpen(token, now)) throw unusableToken(token, now);
    const before = requireAdmissible(cluster, this.#book.member(cluster));
    if (!applicant.rejoin && before?.state === 'active' && this.#book.live(cluster, now, replica).length > 0) {
      throw new IsthmusError('conflict', `Replica ${replica} of cluster ${cluster} has joined already`, {
        hint: 'Issue a token with --rejoin if it lost its state, or choose another replica name.',
      });
    }
    const { federationDomain } = this.#options;
    const member = admittedMember(cluster, this.#book, { federationDomain, now, granted: token.admission });
    // Keys of before its goodbye are not to come back with it.
    const stale = before?.state === 'left' ? this.#book.live(cluster, now).map((held) => held.keyId) : [];
    const changes: Change[] = [
      { type: 'token', token: { ...token, usedBy: keyId } },
      { type: 'member', member },
      ...(stale.length > 0 ? [{ type: 'retire', keyIds: stale } as const] : []),
    ];
    const entries: Entry[] = [{ who, what: 'join', subject: cluster, detail: `replica ${replica}` }];
    return this.#certify(applicant, { changes, entries });
  }

  /**
   * The next intermediate of the calling agent; DER.
   * @throws IsthmusError `denied`, `exhausted`, `invalid`
   */
  renew({ id, cluster, csr, from }: RenewCommand): Promise<IssueAnswer> {
    return this.#options.refusals.answer({ kind: 'member', who: id, subject: cluster ?? id }, async () => {
      const attestation = await this.#attest(csr, from, { peer: id });
      const admitted = await this.#admit(csr, attestation);
      const replica = roleOf(id)?.replica;
      if (cluster === undefined || replica === undefined) throw new IsthmusError('denied', `${id} is of no cluster`);
      requireActive(cluster, this.#book.member(cluster));
      const applicant = { kind: 'renewal', cluster, replica, ...admitted, csr, rejoin: false, who: id } as const;
      const again = this.#answered(applicant);
      if (again) return again;
      if (this.#book.live(cluster, this.#options.clock.now(), replica).length >= maxIntermediatesPerReplica) {
        throw new IsthmusError('exhausted', `${id} has ${maxIntermediatesPerReplica} live intermediates already`);
      }
      return this.#certify(applicant, { changes: [], entries: [] });
    });
  }

  /** What this very key was told before; undefined: nothing. */
  #answered({ cluster, replica, keyId }: Applicant): IssueAnswer | undefined {
    const issued = this.#book.intermediate(cluster, keyId);
    if (issued && issued.replica === replica) return { certificate: issued.certificate };
    const pending = this.#book.pending(keyId);
    return pending?.cluster === cluster && pending.replica === replica ? { pending: true } : undefined;
  }

  /** Signs, or keeps the request for an offline root; durable together with `ruling`. */
  async #certify(applicant: Applicant, ruling: Required<Ruling>): Promise<IssueAnswer> {
    const { cluster, replica, keyId, csr, kind, rejoin, who } = applicant;
    const { clock, root } = this.#options;
    const now = clock.now();
    if (this.#book.knowsKey(keyId) || this.#book.pending(keyId)) {
      throw new IsthmusError('denied', `Key ${keyId} was certified before; each intermediate needs a new one`);
    }
    if (this.#book.live(cluster, now).length >= maxIntermediatesPerCluster) {
      throw new IsthmusError('exhausted', `${cluster} has ${maxIntermediatesPerCluster} live intermediates already`);
    }
    if (root) {
      const { certificate, made } = this.#sign(root, applicant);
      const all = { changes: [...ruling.changes, ...made.changes], entries: [...ruling.entries, ...made.entries] };
      // A newcomer comes back at once with its new identity: by then the roster must know it.
      await this.#options.ledger.decide(all, kind === 'join' ? 'published' : 'later');
      return { certificate };
    }
    const older = this.#book.allPending().filter((each) => each.cluster === cluster && each.replica === replica);
    const pending = { keyId, kind, cluster, replica, csr: new Uint8Array(csr), requestedAt: now, who, rejoin };
    const subject = `${cluster}/${replica}`;
    const waits: Ruling = {
      changes: [
        ...ruling.changes,
        ...older.map((each) => ({ type: 'settled', keyId: each.keyId }) as const),
        { type: 'pending', pending },
      ],
      entries: [...ruling.entries, { who, what: 'pend', subject, detail: `key ${keyId} waits for the root` }],
    };
    await this.#options.ledger.decide(waits, 'later');
    return { pending: true };
  }

  #sign(root: Issuer, applicant: Applicant): { readonly certificate: Uint8Array; readonly made: Required<Ruling> } {
    const { cluster, keyId, spki } = applicant;
    const { federationDomain, clock, nameConstraints, intermediateLifeMs } = this.#options;
    const trustDomain = clusterTrustDomain(cluster, federationDomain);
    const issued = issue(root, {
      profile: 'intermediate',
      uri: domainId(trustDomain),
      subject: caName(federationDomain, cluster, keyId),
      spki,
      now: clock.now(),
      ...(nameConstraints && { permitted: trustDomain }),
      ...(intermediateLifeMs !== undefined && { lifeMs: intermediateLifeMs }),
    });
    const { certificate, serial, notAfter } = issued;
    return { certificate, made: this.recordIssued(applicant, { certificate, serial, notAfter }) };
  }

  /** What an issued intermediate changes, whoever signed it. */
  recordIssued(
    applicant: Pick<Applicant, 'cluster' | 'replica' | 'keyId' | 'rejoin' | 'who'>,
    issued: { readonly certificate: Uint8Array; readonly serial: string; readonly notAfter: number },
  ): Required<Ruling> {
    const { cluster, replica, keyId, rejoin, who } = applicant;
    const { serial, notAfter } = issued;
    const now = this.#options.clock.now();
    const replaced = rejoin ? this.#book.live(cluster, now, replica).map((held) => held.keyId) : [];
    const certificate = new Uint8Array(issued.certificate);
    const intermediate = { keyId, cluster, replica, serial, issuedAt: now, notAfter, certificate, retired: false };
    const retires = replaced.length > 0 ? `, retires ${replaced.join(', ')}` : '';
    const until = new Date(notAfter).toISOString();
    const detail = `key ${keyId}, serial ${serial}, until ${until}, sha256 ${fingerprintOf(certificate)}${retires}`;
    return {
      changes: [
        ...(replaced.length > 0 ? [{ type: 'retire', keyIds: replaced } as const] : []),
        { type: 'intermediate', intermediate },
      ],
      entries: [{ who, what: 'issue-intermediate', subject: `${cluster}/${replica}`, detail }],
    };
  }

  /** Who calls, and that it is its turn: only what costs little is done before. */
  async #attest(csr: Uint8Array, from: string, evidence: Evidence): Promise<Attestation> {
    if (csr.length > maxDerBytes) {
      const rule = `${csr.length} bytes are over the limit of ${maxDerBytes}`;
      throw new IsthmusError('invalid', `A certificate request is refused: ${rule}`);
    }
    this.#limiter.arrive(sourceOf(from), this.#options.clock.monotonic());
    const attestation = await attestCaller(this.#attestors, evidence);
    await this.#slices.turn(attestation.kind);
    return attestation;
  }

  /** An intermediate is named for the trust domain of whoever asks for it. */
  #admit(csr: Uint8Array, { id, kind }: Attestation): Promise<Admitted> {
    const idOf = (): SpiffeId => domainId(trustDomainOf(id));
    return this.#gate.admit({ csr, identity: id, kind, idOf, now: this.#options.clock.monotonic() });
  }
}

/** The address of `address:port`; of IPv6 the network of 64 bits, which one host may own all of. */
function sourceOf(from: string): string {
  const address = from.slice(0, Math.max(0, from.lastIndexOf(':')));
  return address.includes(':') ? address.split(':').slice(0, 4).join(':') : address;
}
