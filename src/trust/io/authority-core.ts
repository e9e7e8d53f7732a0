import { createHash, randomBytes } from 'node:crypto';
import { type ErrorCode, IsthmusError } from '../../model/error.ts';
import { clusterTrustDomain, domainId, roleOf, type SpiffeId, type TrustDomain } from '../../model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, type ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Admission, KeyId, RosterEntry } from '../../model/trust.ts';
import { encodeJoinToken } from '../../wire/join-token.ts';
import type { AuditEntry } from '../audit.ts';
import { checkAdmission, defaultAdmission, domainConflict } from '../authority/admission.ts';
import type { AuthorityBook } from '../authority/book.ts';
import type { Change, JoinTokenEntry, Member, PendingEntry } from '../authority/change.ts';
import { type CallerKind, DenialBudget } from '../authority/denials.ts';
import { type Admitted, CsrGate } from '../issue/csr-gate.ts';
import { RequestLimiter, type RequestLimits } from '../issue/request-limiter.ts';
import { caName } from '../x509/certificate.ts';
import { maxDerBytes } from '../x509/der.ts';
import { profiles } from '../x509/profiles.ts';
import { fingerprintOf, readCertificate } from '../x509/read.ts';
import type { AuthorityLedger, Ruling } from './authority-ledger.ts';
import { type Issuer, issue } from './issuer.ts';
import { RequestSlices } from './request-slices.ts';

/** Longest life of a join token in ms, and the default. */
const maxTokenTtlMs = 15 * 60_000;
/** How long an ended token is remembered: long enough to tell a late newcomer what became of it. */
const tokenMemoryMs = 86_400_000;
/** Tokens that can be open at a time. */
const maxTokens = 10_000;
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

export interface IssueTokenOptions {
  readonly cluster: ClusterName;
  /** Default and at most 15 minutes. */
  readonly ttlMs?: number;
  /** `host:port` under which newcomers reach the authority. */
  readonly addresses: readonly string[];
  /** Let a replica that lost its disk join again; its earlier intermediates are retired. */
  readonly rejoin?: boolean;
  /** What the cluster is admitted for; what is left out stays as it is, or as by default. */
  readonly admission?: Partial<Admission>;
  /** Who asks, for the journal. */
  readonly who: string;
}

export interface IssuedToken {
  readonly token: string;
  /** Wall clock in ms. */
  readonly expiresAt: number;
  /** Name of the token for `token list` and `token revoke`. */
  readonly id: string;
}

export interface AuthorityCoreOptions {
  readonly ledger: AuthorityLedger;
  /** Undefined: the root signs by file. */
  readonly root: Issuer | undefined;
  /** DER. */
  readonly anchor: Uint8Array;
  readonly federationDomain: TrustDomain;
  readonly clock: Clock;
  readonly log: Log;
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

/** Who decided, and why, for the journal. */
export interface Reason {
  readonly who: string;
  readonly why: string;
}

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

/** The decisions of an authority: each is durable, with its entry in the journal, before anyone hears of it. */
export class AuthorityCore {
  readonly #options: AuthorityCoreOptions;
  readonly #limiter: RequestLimiter;
  readonly #gate: CsrGate;
  readonly #denials: DenialBudget;
  readonly #slices: RequestSlices;
  readonly #rootSha256: string;

  constructor(options: AuthorityCoreOptions) {
    this.#options = options;
    const { clock, anchor, limits } = options;
    const lifeMs = options.intermediateLifeMs ?? profiles.intermediate.lifeMs;
    const { subjectKeyId: anchorKeyId } = readCertificate(anchor);
    this.#rootSha256 = fingerprintOf(anchor);
    this.#limiter = new RequestLimiter(limits, clock.monotonic());
    this.#denials = new DenialBudget(clock.monotonic());
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

  /** @throws IsthmusError `invalid`, `denied`, `exhausted`, `unavailable` */
  async issueToken(request: IssueTokenOptions): Promise<IssuedToken> {
    const { clock, federationDomain } = this.#options;
    const { cluster, ttlMs = maxTokenTtlMs, addresses, rejoin = false, who } = request;
    if (!(ttlMs > 0 && ttlMs <= maxTokenTtlMs)) {
      throw new IsthmusError('invalid', `A join token must live 1 to ${maxTokenTtlMs} ms: current value is ${ttlMs}`);
    }
    const admission = checkAdmission(request.admission ?? {});
    this.#requireAdmissible(cluster);
    const now = clock.now();
    const tokens = [...this.#book.tokens()];
    if (tokens.filter((token) => isOpen(token, now)).length >= maxTokens) {
      throw new IsthmusError('exhausted', `There are ${maxTokens} open tokens already`);
    }
    const old = tokens.filter(({ expiresAt }) => expiresAt < now - tokenMemoryMs).map(({ hash }) => hash);
    const secret = randomBytes(32);
    const hash = sha256(secret);
    const expiresAt = now + ttlMs;
    const token = { hash, cluster, rejoin, admission, issuedAt: now, expiresAt, revoked: false };
    const detail = `${tokenId(hash)} until ${new Date(expiresAt).toISOString()}${rejoin ? ', rejoin' : ''}`;
    const granted = Object.keys(admission).length > 0 ? `, ${JSON.stringify(admission)}` : '';
    await this.#decide({
      changes: [...(old.length > 0 ? [{ type: 'forget-tokens', hashes: old } as const] : []), { type: 'token', token }],
      entries: [{ who, what: 'issue-token', subject: cluster, detail: detail + granted }],
    });
    const rootSha256 = this.#rootSha256;
    const parts = { kind: 'cluster', cluster, federationDomain, addresses, rootSha256, secret, expiresAt } as const;
    return { token: encodeJoinToken(parts), expiresAt, id: tokenId(hash) };
  }

  /** Makes an open token useless. `id`: as `tokenId` of one. @throws IsthmusError `not-found`, `conflict` */
  async revokeToken(id: string, who: string, why: string): Promise<void> {
    const token = [...this.#book.tokens()].find(({ hash }) => tokenId(hash) === id);
    if (!token) throw new IsthmusError('not-found', `There is no token ${id}`);
    if (!isOpen(token, this.#options.clock.now())) {
      throw new IsthmusError('conflict', `Token ${id} is ${tokenState(token, this.#options.clock.now())}`);
    }
    await this.#decide({
      changes: [{ type: 'token', token: { ...token, revoked: true } }],
      entries: [{ who, what: 'revoke-token', subject: token.cluster, detail: `${id}: ${why}` }],
    });
  }

  /**
   * Redeems a token for the first intermediate of a replica; DER. The same key may ask again with the same token: the
   * answer may have been lost, or an offline root may not have signed yet.
   * @throws IsthmusError `unauthenticated` (unknown, used, expired token), `denied`, `conflict`, `invalid`, `exhausted`
   */
  join(command: JoinCommand): Promise<IssueAnswer> {
    const { from } = command;
    return this.#answer({ kind: 'stranger', who: from, subject: command.cluster.slice(0, 63) }, async () => {
      this.#arrive(command.csr, from);
      await this.#slices.turn('join');
      const cluster = parseClusterName(command.cluster);
      const replica = parseReplicaName(command.replica);
      const token = this.#book.token(sha256(command.secret));
      if (!token) throw new IsthmusError('unauthenticated', 'The join token is unknown');
      const admitted = this.#admit(command.csr, `token of ${token.cluster}`, 'join', token.cluster);
      if (token.cluster !== cluster) {
        throw new IsthmusError('denied', `The join token is for cluster ${token.cluster}, not ${cluster}`);
      }
      const who = `token ${tokenId(token.hash)} from ${from}`;
      const { rejoin } = token;
      return this.#redeem(token, { kind: 'join', cluster, replica, ...admitted, csr: command.csr, rejoin, who });
    });
  }

  async #redeem(token: JoinTokenEntry, applicant: Applicant): Promise<IssueAnswer> {
    const now = this.#options.clock.now();
    const { cluster, replica, keyId, who } = applicant;
    const again = token.usedBy === keyId ? this.#answered(applicant) : undefined;
    if (again) return again;
    if (!isOpen(token, now)) throw unusableToken(token, now);
    const before = this.#requireAdmissible(cluster);
    if (!applicant.rejoin && before?.state === 'active' && this.#book.live(cluster, now, replica).length > 0) {
      throw new IsthmusError('conflict', `Replica ${replica} of cluster ${cluster} has joined already`, {
        hint: 'Issue a token with --rejoin if it lost its state, or choose another replica name.',
      });
    }
    const member = this.#memberOf(cluster, before, token.admission);
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

  #memberOf(cluster: ClusterName, before: Member | undefined, admission: Partial<Admission>): Member {
    const { federationDomain, clock } = this.#options;
    if (before && before.state !== 'left') return { ...before, ...admission };
    const trustDomain = clusterTrustDomain(cluster, federationDomain);
    const others = [...this.#book.members()].filter((each) => each.cluster !== cluster);
    const conflict = domainConflict(
      trustDomain,
      others.map((each) => each.trustDomain),
    );
    if (conflict !== undefined) throw new IsthmusError('denied', `Cluster ${cluster} cannot join: ${conflict}`);
    const kept = before ?? defaultAdmission;
    const { labels, exportable, mayPublishPolicy, mayOperate, limits } = { ...kept, ...admission };
    const granted = { labels, exportable, mayPublishPolicy, mayOperate, limits };
    const member: Member = { cluster, trustDomain, state: 'active', joinedAt: clock.now(), ...granted };
    const full = this.#book.roomProblem(member);
    if (full !== undefined) throw new IsthmusError('exhausted', `Cluster ${cluster} cannot join: ${full}`);
    return member;
  }

  /**
   * The next intermediate of the calling agent; DER.
   * @throws IsthmusError `denied`, `exhausted`, `invalid`
   */
  renew({ id, cluster, csr, from }: RenewCommand): Promise<IssueAnswer> {
    return this.#answer({ kind: 'member', who: id, subject: cluster ?? id }, async () => {
      this.#arrive(csr, from);
      await this.#slices.turn('renewal');
      const caller = roleOf(id);
      if (caller?.role !== 'agent' || cluster === undefined) {
        throw new IsthmusError('denied', `Only an agent gets an intermediate: the caller is ${id}`);
      }
      const { replica } = caller;
      const admitted = this.#admit(csr, id, 'renewal', cluster);
      const member = this.#book.member(cluster);
      if (member?.state !== 'active') {
        throw new IsthmusError('denied', `Cluster ${cluster} is ${member?.state ?? 'no member'}`);
      }
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

  /** Suspends, revokes or readmits a member. @throws IsthmusError `not-found`, `conflict` for a revoked one */
  async setState(cluster: ClusterName, state: RosterEntry['state'], { who, why }: Reason): Promise<void> {
    const member = this.#memberNamed(cluster);
    if (member.state === state) return;
    if (member.state === 'revoked') {
      throw new IsthmusError('conflict', `Cluster ${cluster} is revoked; that is never undone`);
    }
    if (member.state === 'left' && state === 'active') {
      throw new IsthmusError('conflict', `Cluster ${cluster} has left: it comes back with a new token`);
    }
    const keys = state === 'revoked' ? this.#book.live(cluster, this.#options.clock.now()) : [];
    const denied = keys.map(({ keyId, notAfter }) => ({
      keyId,
      why: `cluster ${cluster} was revoked`,
      until: notAfter,
    }));
    const waiting = state === 'revoked' ? this.#book.allPending().filter((each) => each.cluster === cluster) : [];
    const { leftAt: _leftAt, ...rest } = member;
    await this.#options.ledger.decide(
      {
        changes: [
          { type: 'member', member: { ...rest, state } },
          ...denied.map((each) => ({ type: 'deny', denied: each }) as const),
          ...waiting.map(({ keyId }) => ({ type: 'settled', keyId }) as const),
        ],
        entries: [{ who, what: 'set-state', subject: cluster, detail: `${state}: ${why}` }],
      },
      'published',
    );
  }

  /** Changes what a member is admitted for. @throws IsthmusError `not-found`, `invalid` */
  async admit(cluster: ClusterName, admission: Partial<Admission>, { who, why }: Reason): Promise<void> {
    const member = this.#memberNamed(cluster);
    const changed = { ...member, ...checkAdmission(admission) };
    const detail = `${JSON.stringify(admission)}: ${why}`;
    await this.#options.ledger.decide(
      {
        changes: [{ type: 'member', member: changed }],
        entries: [{ who, what: 'admit', subject: cluster, detail }],
      },
      'published',
    );
  }

  /** An agent says goodbye for its whole cluster. @throws IsthmusError `denied` */
  leave(id: SpiffeId, cluster: ClusterName | undefined, why: string): Promise<void> {
    return this.#answer({ kind: 'member', who: id, subject: cluster ?? id }, async () => {
      if (roleOf(id)?.role !== 'agent' || cluster === undefined) {
        throw new IsthmusError('denied', `Only an agent can say goodbye for its cluster: the caller is ${id}`);
      }
      const member = this.#memberNamed(cluster);
      if (member.state === 'left') return;
      if (member.state !== 'active') throw new IsthmusError('denied', `Cluster ${cluster} is ${member.state}`);
      const left: Member = { ...member, state: 'left', leftAt: this.#options.clock.now() };
      await this.#options.ledger.decide(
        {
          changes: [{ type: 'member', member: left }],
          entries: [{ who: id, what: 'leave', subject: cluster, detail: why.slice(0, 200) }],
        },
        'published',
      );
    });
  }

  #memberNamed(cluster: ClusterName): Member {
    const member = this.#book.member(cluster);
    if (member) return member;
    throw new IsthmusError('not-found', `There is no cluster ${cluster}`);
  }

  /** Whether a cluster may have a newcomer; undefined: it is no member yet. @throws IsthmusError `denied` */
  #requireAdmissible(cluster: ClusterName): Member | undefined {
    const member = this.#book.member(cluster);
    if (!member || member.state === 'active' || member.state === 'left') return member;
    throw new IsthmusError('denied', `Cluster ${cluster} is ${member.state}`);
  }

  #admit(csr: Uint8Array, identity: string, kind: 'join' | 'renewal', cluster: ClusterName): Admitted {
    const { federationDomain, clock } = this.#options;
    const idOf = (): SpiffeId => domainId(clusterTrustDomain(cluster, federationDomain));
    return this.#gate.admit({ csr, identity, kind, idOf, now: clock.monotonic() });
  }

  #arrive(csr: Uint8Array, from: string): void {
    if (csr.length > maxDerBytes) {
      const rule = `${csr.length} bytes are over the limit of ${maxDerBytes}`;
      throw new IsthmusError('invalid', `A certificate request is refused: ${rule}`);
    }
    this.#limiter.arrive(sourceOf(from), this.#options.clock.monotonic());
  }

  #decide(ruling: Ruling): Promise<void> {
    return this.#options.ledger.decide(ruling);
  }

  /** Runs a caller's request; what is refused is written down, as far as its kind of caller may fill the journal. */
  async #answer<T>(caller: Caller, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (thrown) {
      const { code, message } = IsthmusError.from(thrown);
      const { clock, ledger, log } = this.#options;
      if (!deniedCodes.has(code)) throw thrown;
      const detail = this.#denials.tell(caller.kind, message.slice(0, 500), clock.monotonic());
      if (detail === undefined) throw thrown;
      const entry: Entry = { who: caller.who, what: 'deny', subject: caller.subject, detail };
      // The caller is refused whether or not the disk takes note.
      await ledger.decide({ entries: [entry] }).catch((failed: unknown) => {
        log.error({ err: failed, detail }, 'cannot write down a refusal');
      });
      throw thrown;
    }
  }
}

interface Caller {
  readonly kind: CallerKind;
  readonly who: string;
  readonly subject: string;
}

/** Failures that are the caller's doing. */
const deniedCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'invalid',
  'unauthenticated',
  'denied',
  'not-found',
  'conflict',
  'exhausted',
  'corrupt',
]);

/** The name of a token that may be shown: the first 48 bits of its hash. */
export function tokenId(hash: string): string {
  return hash.slice(0, 12);
}

function isOpen(token: JoinTokenEntry, now: number): boolean {
  return tokenState(token, now) === 'open';
}

/** `now`: wall clock in ms. */
export function tokenState(token: JoinTokenEntry, now: number): 'open' | 'used' | 'expired' | 'revoked' {
  if (token.usedBy !== undefined) return 'used';
  if (token.revoked) return 'revoked';
  return token.expiresAt <= now ? 'expired' : 'open';
}

function unusableToken(token: JoinTokenEntry, now: number): IsthmusError {
  const state = tokenState(token, now);
  const why = state === 'expired' ? `expired at ${new Date(token.expiresAt).toISOString()}` : `was ${state} already`;
  return new IsthmusError('unauthenticated', `The join token ${why}`, { hint: 'Issue a new token.' });
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The address of `address:port`; of IPv6 the network of 64 bits, which one host may own all of. */
function sourceOf(from: string): string {
  const address = from.slice(0, Math.max(0, from.lastIndexOf(':')));
  return address.includes(':') ? address.split(':').slice(0, 4).join(':') : address;
}
