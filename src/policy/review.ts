import type { ClusterName } from '../model/names.ts';
import type { PolicyRecord } from '../model/record.ts';
import { describeFaults, type ParsedPolicy, parsePolicy } from './parse.ts';
import { documentOf, type PublishedPolicy, policyId } from './policy.ts';

/** A policy record with the cluster in whose partition it stands. */
export interface PolicySource {
  readonly publisher: ClusterName;
  readonly record: PolicyRecord;
}

/** What became of one policy record in this cluster. */
export interface PolicyReview extends PolicySource {
  /**
   * - `InForce`: it counts here
   * - `Elsewhere`: it counts in its publisher's cluster alone
   * - `Ignored`: its publisher may not say so
   * - `Rejected`: it cannot be understood; the version before it, if there was one, stays in force
   */
  readonly outcome: 'InForce' | 'Elsewhere' | 'Ignored' | 'Rejected';
  /** Why, unless it is in force; what has no effect, if it is. */
  readonly message: string;
  /** Undefined: nothing of it counts here. */
  readonly inForce: PublishedPolicy | undefined;
}

export interface ReviewRules {
  /** Where the policies are to count. */
  readonly self: ClusterName;
  /** Whose policies count for the whole federation. */
  readonly mayPublish: (cluster: ClusterName) => boolean;
  /** What was in force before, by `policyId`: a bad version never replaces a good one. */
  readonly before: ReadonlyMap<string, PublishedPolicy>;
}

/** More policies than this in one federation are a mistake, or an attack: the first in order are looked at. */
const maxPolicies = 20_000;

/** A record is parsed once, however often it is reviewed. */
const parsed = new WeakMap<PolicyRecord, ParsedPolicy>();

/** Judges all policy records that are known, in the order of publisher and name. */
export function reviewPolicies(sources: readonly PolicySource[], rules: ReviewRules): readonly PolicyReview[] {
  return sources
    .toSorted((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1))
    .slice(0, maxPolicies)
    .map((source) => review(source, rules));
}

function sortKey({ publisher, record }: PolicySource): string {
  return `${publisher}/${record.type}/${record.namespace ?? '-'}/${record.name}`;
}

/** What counts, by `policyId`. */
export function inForceOf(reviews: readonly PolicyReview[]): ReadonlyMap<string, PublishedPolicy> {
  return new Map(reviews.flatMap(({ inForce }) => (inForce ? [[policyId(inForce), inForce] as const] : [])));
}

function review(source: PolicySource, rules: ReviewRules): PolicyReview {
  const { publisher, record } = source;
  const ownAccess = record.type === 'AccessPolicy';
  if (!rules.mayPublish(publisher)) {
    if (!ownAccess) {
      const message = `${publisher} may not publish policies for the federation (mayPublishPolicy)`;
      return { ...source, outcome: 'Ignored', message, inForce: undefined };
    }
    if (publisher !== rules.self) {
      const message = `counts for what ${publisher} itself exports`;
      return { ...source, outcome: 'Elsewhere', message, inForce: undefined };
    }
  }
  const result = parsedOf(record);
  const kept = rules.before.get(sortKey(source));
  if (!result.ok) {
    const reason = describeFaults(result.faults);
    const message = kept ? `${reason}; the version before it stays in force` : reason;
    return { ...source, outcome: 'Rejected', message, inForce: kept };
  }
  const { policy } = result;
  const createdAt = Math.min(record.createdAt ?? record.issuedAt, record.issuedAt);
  const same = kept?.policy === policy && kept.createdAt === createdAt && kept.revision === record.issuedAt;
  const inForce = same ? kept : { policy, publisher, revision: record.issuedAt, createdAt };
  return { ...source, outcome: 'InForce', message: policy.notes.join('; '), inForce };
}

function parsedOf(record: PolicyRecord): ParsedPolicy {
  let result = parsed.get(record);
  if (!result) {
    result = parsePolicy(documentOf(record));
    parsed.set(record, result);
  }
  return result;
}
