import { IsthmusError } from '../../model/error.ts';
import { roleOf, type SpiffeId } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Admission, RosterEntry } from '../../model/trust.ts';
import { checkAdmission } from '../authority/admission.ts';
import type { Member } from '../authority/change.ts';
import { requireActive } from '../authority/members.ts';
import type { AuthorityLedger } from './authority-ledger.ts';
import type { Refusals } from './authority-refusals.ts';

/** Who decided, and why, for the journal. */
export interface Reason {
  readonly who: string;
  readonly why: string;
}

export interface AuthorityMembersOptions {
  readonly ledger: AuthorityLedger;
  readonly refusals: Refusals;
  readonly clock: Clock;
}

/** What is decided of clusters that are members already. */
export class AuthorityMembers {
  readonly #options: AuthorityMembersOptions;

  constructor(options: AuthorityMembersOptions) {
    this.#options = options;
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
    const keys = state === 'revoked' ? this.#options.ledger.book.live(cluster, this.#options.clock.now()) : [];
    const denied = keys.map(({ keyId, notAfter }) => ({
      keyId,
      why: `cluster ${cluster} was revoked`,
      until: notAfter,
    }));
    const waiting =
      state === 'revoked' ? this.#options.ledger.book.allPending().filter((each) => each.cluster === cluster) : [];
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
    return this.#options.refusals.answer({ kind: 'member', who: id, subject: cluster ?? id }, async () => {
      if (roleOf(id)?.role !== 'agent' || cluster === undefined) {
        throw new IsthmusError('denied', `Only an agent can say goodbye for its cluster: the caller is ${id}`);
      }
      const member = this.#memberNamed(cluster);
      if (member.state === 'left') return;
      requireActive(cluster, member);
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
    const member = this.#options.ledger.book.member(cluster);
    if (member) return member;
    throw new IsthmusError('not-found', `There is no cluster ${cluster}`);
  }
}
