import { randomBytes } from 'node:crypto';
import { IsthmusError } from '../../model/error.ts';
import type { TrustDomain } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Admission } from '../../model/trust.ts';
import type { TokenRow } from '../../model/trust-report.ts';
import { encodeJoinToken } from '../../wire/join-token.ts';
import { checkAdmission } from '../authority/admission.ts';
import type { Change } from '../authority/change.ts';
import { isOpen, maxTokenTtlMs, tokenHash, tokenId, tokenState } from '../authority/join-tokens.ts';
import { requireAdmissible } from '../authority/members.ts';
import type { AuthorityLedger } from './authority-ledger.ts';

/** How long an ended token is remembered: long enough to tell a late newcomer what became of it. */
const tokenMemoryMs = 86_400_000;
/** Tokens that can be open at a time. */
const maxTokens = 10_000;

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

export interface AuthorityTokensOptions {
  readonly ledger: AuthorityLedger;
  readonly federationDomain: TrustDomain;
  /** Of the anchor, lower-case hex: what a token pins. */
  readonly rootSha256: string;
  readonly clock: Clock;
}

/** Invitations of clusters: of each only the hash of its secret is kept. */
export class AuthorityTokens {
  readonly #options: AuthorityTokensOptions;

  constructor(options: AuthorityTokensOptions) {
    this.#options = options;
  }

  /** @throws IsthmusError `invalid`, `denied`, `exhausted`, `unavailable` */
  async issue(request: IssueTokenOptions): Promise<IssuedToken> {
    const { clock, federationDomain, rootSha256, ledger } = this.#options;
    const { cluster, ttlMs = maxTokenTtlMs, addresses, rejoin = false, who } = request;
    if (!(ttlMs > 0 && ttlMs <= maxTokenTtlMs)) {
      throw new IsthmusError('invalid', `A join token must live 1 to ${maxTokenTtlMs} ms: current value is ${ttlMs}`);
    }
    const admission = checkAdmission(request.admission ?? {});
    requireAdmissible(cluster, ledger.book.member(cluster));
    const now = clock.now();
    const forgotten = this.#room(now);
    const secret = randomBytes(32);
    const hash = tokenHash(secret);
    const expiresAt = now + ttlMs;
    const token = { hash, cluster, rejoin, admission, issuedAt: now, expiresAt, revoked: false };
    const detail = `${tokenId(hash)} until ${new Date(expiresAt).toISOString()}${rejoin ? ', rejoin' : ''}`;
    const granted = Object.keys(admission).length > 0 ? `, ${JSON.stringify(admission)}` : '';
    await ledger.decide({
      changes: [...forgotten, { type: 'token', token }],
      entries: [{ who, what: 'issue-token', subject: cluster, detail: detail + granted }],
    });
    const parts = { kind: 'cluster', cluster, federationDomain, addresses, rootSha256, secret, expiresAt } as const;
    return { token: encodeJoinToken(parts), expiresAt, id: tokenId(hash) };
  }

  /** What has to be forgotten for one more. @throws IsthmusError `exhausted` */
  #room(now: number): readonly Change[] {
    const tokens = [...this.#options.ledger.book.tokens()];
    if (tokens.filter((token) => isOpen(token, now)).length >= maxTokens) {
      throw new IsthmusError('exhausted', `There are ${maxTokens} open tokens already`);
    }
    const old = tokens.filter(({ expiresAt }) => expiresAt < now - tokenMemoryMs).map(({ hash }) => hash);
    return old.length > 0 ? [{ type: 'forget-tokens', hashes: old }] : [];
  }

  /** Makes an open token useless. `id`: as `tokenId` of one. @throws IsthmusError `not-found`, `conflict` */
  async revoke(id: string, who: string, why: string): Promise<void> {
    const { clock, ledger } = this.#options;
    const token = [...ledger.book.tokens()].find(({ hash }) => tokenId(hash) === id);
    if (!token) throw new IsthmusError('not-found', `There is no token ${id}`);
    if (!isOpen(token, clock.now())) {
      throw new IsthmusError('conflict', `Token ${id} is ${tokenState(token, clock.now())}`);
    }
    await ledger.decide({
      changes: [{ type: 'token', token: { ...token, revoked: true } }],
      entries: [{ who, what: 'revoke-token', subject: token.cluster, detail: `${id}: ${why}` }],
    });
  }

  /** All that are remembered, the newest first. */
  rows(): readonly TokenRow[] {
    const { clock, ledger } = this.#options;
    return [...(ledger.held?.tokens() ?? [])]
      .map((token) => ({
        id: tokenId(token.hash),
        cluster: token.cluster,
        state: tokenState(token, clock.now()),
        issuedAt: token.issuedAt,
        expiresAt: token.expiresAt,
        rejoin: token.rejoin,
        ...(token.usedBy !== undefined && { usedBy: token.usedBy }),
      }))
      .sort((a, b) => b.issuedAt - a.issuedAt);
  }
}
