import type { ClusterName } from '../../../model/names.ts';
import type { PolicyDetail, PolicyDocument, PolicyRow, PolicyState } from '../../../model/policy-report.ts';
import type { PolicyRecord } from '../../../model/record.ts';
import type { MeshView } from '../../../model/view.ts';
import { apiVersion, describeOrigin, type PublishedPolicy } from '../../../policy/policy.ts';
import { unseenRequests } from '../../../policy/unseen.ts';
import type { PolicyReview } from '../../../policy/review.ts';
import type { PolicyDesk } from './desk.ts';

export interface PolicyRowsContext {
  readonly desk: PolicyDesk;
  readonly view: MeshView;
  /** Wall clock in ms. */
  readonly now: number;
}

/** Every policy that is known, in the order of publisher and name. */
export function policyRows(context: PolicyRowsContext): readonly PolicyDetail[] {
  return context.desk.reviews.map((review) => ({ ...rowOf(review, context), document: documentRow(review.record) }));
}

/** A record as `apply` takes it. */
export function documentRow({ type, namespace, name, spec }: PolicyRecord): PolicyDocument {
  return { apiVersion, kind: type, metadata: { name, ...(namespace !== undefined && { namespace }) }, spec };
}

function rowOf(review: PolicyReview, context: PolicyRowsContext): PolicyRow {
  const { record, publisher } = review;
  const { state, message } = standing(review, context);
  return {
    policy: `${record.type}/${record.namespace ?? '-'}/${record.name}`,
    publisher,
    target: targetOf(review),
    state,
    revision: record.issuedAt,
    ageMs: Math.max(0, context.now - record.issuedAt),
    ...(record.file !== undefined && { file: record.file }),
    applied: appliedBy(review, context),
    ...(message !== '' && { message }),
  };
}

function targetOf({ record, inForce }: PolicyReview): string {
  if (record.type === 'FederationPolicy') return '*';
  const body = inForce?.policy.body;
  const all = `${record.namespace}/*`;
  if (body?.kind === 'AccessPolicy') return body.services ? [...body.services].join(',') : all;
  return body?.service ?? all;
}

function standing(
  { outcome, message, inForce }: PolicyReview,
  context: PolicyRowsContext,
): { readonly state: PolicyState; readonly message: string } {
  if (outcome !== 'InForce' || !inForce) return { state: outcome === 'InForce' ? 'Rejected' : outcome, message };
  const said = join(message, ...unseenRequests(inForce, context.view));
  const absent = absentTargets(inForce, context.view);
  if (absent.length > 0) {
    return { state: 'Pending', message: join(message, `no cluster exports ${absent.join(', ')} yet`) };
  }
  const lost = overriddenFields(inForce, context);
  if (lost.size === 0) return { state: 'Accepted', message: said };
  const parts = [...lost].map(([by, fields]) => `${fields.join(', ')} by ${by}`);
  return { state: 'Overridden', message: join(said, parts.join('; ')) };
}

function join(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('; ');
}

function absentTargets({ policy: { body } }: PublishedPolicy, view: MeshView): readonly string[] {
  const named = body.kind === 'AccessPolicy' ? [...(body.services ?? [])] : body.service ? [body.service] : [];
  return named.filter((key) => (view.services.get(key)?.exports.size ?? 0) === 0);
}

/** Fields that lose wherever the policy applies to a known service, by who wins. */
function overriddenFields(policy: PublishedPolicy, { desk, view }: PolicyRowsContext): Map<string, string[]> {
  const { body, name } = policy.policy;
  const lost = new Map<string, string[]>();
  if (body.kind === 'AccessPolicy') return lost;
  const { policies } = desk.current;
  const key =
    body.service ??
    [...view.services.keys()].find((each) => name.namespace === undefined || each.startsWith(`${name.namespace}/`));
  if (key === undefined) return lost;
  for (const { policy: loser, field, by } of policies.stated(key).overridden) {
    if (loser !== policy) continue;
    const winner = describeOrigin(by);
    lost.set(winner, [...(lost.get(winner) ?? []), field]);
  }
  return lost;
}

/** Every member with the version that it says it has in force. */
function appliedBy({ publisher, record }: PolicyReview, { desk, view }: PolicyRowsContext): PolicyRow['applied'] {
  const id = `${publisher}/${record.type}/${record.namespace ?? '-'}/${record.name}`;
  return [...view.clusters.keys()].map((cluster: ClusterName) => {
    const revision = desk.applied(cluster)?.policies[id];
    return { cluster, ...(revision !== undefined && { revision }), current: revision === record.issuedAt };
  });
}
