import { IsthmusError } from '../../model/error.ts';
import { clusterTrustDomain, type TrustDomain } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Admission } from '../../model/trust.ts';
import { defaultAdmission, domainConflict } from './admission.ts';
import type { AuthorityBook } from './book.ts';
import type { Member } from './change.ts';

/** Whether a cluster may have a newcomer; undefined: it is no member yet. @throws IsthmusError `denied` */
export function requireAdmissible(cluster: ClusterName, member: Member | undefined): Member | undefined {
  if (!member || member.state === 'active' || member.state === 'left') return member;
  throw new IsthmusError('denied', `Cluster ${cluster} is ${member.state}`);
}

/** @throws IsthmusError `denied` unless it is a member in good standing */
export function requireActive(cluster: ClusterName, member: Member | undefined): Member {
  if (member?.state === 'active') return member;
  throw new IsthmusError('denied', `Cluster ${cluster} is ${member?.state ?? 'no member'}`);
}

export interface AdmittedOptions {
  readonly federationDomain: TrustDomain;
  /** Wall clock in ms. */
  readonly now: number;
  /** What its token grants; what is left out stays as it is, or as by default. */
  readonly granted: Partial<Admission>;
}

/** The member that a cluster is once a newcomer of it is let in. @throws IsthmusError `denied`, `exhausted` */
export function admittedMember(cluster: ClusterName, book: AuthorityBook, options: AdmittedOptions): Member {
  const { federationDomain, now, granted } = options;
  const before = book.member(cluster);
  if (before && before.state !== 'left') return { ...before, ...granted };
  const trustDomain = clusterTrustDomain(cluster, federationDomain);
  const others = [...book.members()].filter((each) => each.cluster !== cluster);
  const conflict = domainConflict(
    trustDomain,
    others.map((each) => each.trustDomain),
  );
  if (conflict !== undefined) throw new IsthmusError('denied', `Cluster ${cluster} cannot join: ${conflict}`);
  const { labels, exportable, mayPublishPolicy, mayOperate, limits } = { ...(before ?? defaultAdmission), ...granted };
  const admission = { labels, exportable, mayPublishPolicy, mayOperate, limits };
  const member: Member = { cluster, trustDomain, state: 'active', joinedAt: now, ...admission };
  const full = book.roomProblem(member);
  if (full !== undefined) throw new IsthmusError('exhausted', `Cluster ${cluster} cannot join: ${full}`);
  return member;
}
