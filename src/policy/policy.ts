import type { CallerMatch, RequestMatch } from '../model/access.ts';
import { IsthmusError } from '../model/error.ts';
import { type ClusterName, parseServiceKey, type ServiceKey } from '../model/names.ts';
import type { PolicyRecord } from '../model/record.ts';
import type { TrafficFields } from './fields.ts';

/** The version that this program reads and writes. */
export const apiVersion = 'isthmus.dev/v1alpha1';

/** The kinds of policy. */
export const policyKinds = ['TrafficPolicy', 'FederationPolicy', 'AccessPolicy'] as const;
export type PolicyKind = (typeof policyKinds)[number];

/** What a policy is called inside its publisher's partition. */
export interface PolicyName {
  readonly kind: PolicyKind;
  /** Undefined for a FederationPolicy, which is for all. */
  readonly namespace: string | undefined;
  readonly name: string;
}

/** What a TrafficPolicy or FederationPolicy says. */
export interface TrafficPolicy {
  readonly kind: 'TrafficPolicy' | 'FederationPolicy';
  /** Undefined: the whole namespace, or all of it for a FederationPolicy. */
  readonly service: ServiceKey | undefined;
  readonly fields: Partial<TrafficFields>;
}

/** What an AccessPolicy says. */
export interface AccessPolicy {
  readonly kind: 'AccessPolicy';
  readonly action: 'allow' | 'deny';
  /** It decides nothing: what it would do is logged. */
  readonly audit: boolean;
  /** Alternatives; undefined: whoever calls. */
  readonly from: readonly CallerMatch[] | undefined;
  /** Undefined: every service of the namespace. */
  readonly services: ReadonlySet<ServiceKey> | undefined;
  /** Service ports; undefined: every one. */
  readonly ports: readonly number[] | undefined;
  /** Undefined: every request, and every connection. */
  readonly requests: RequestMatch | undefined;
}

/** A policy that was understood. */
export interface Policy {
  readonly name: PolicyName;
  readonly body: TrafficPolicy | AccessPolicy;
  /** As written, for showing and publishing it. */
  readonly spec: Readonly<Record<string, unknown>>;
  /** What is right and yet has no effect, one sentence each. */
  readonly notes: readonly string[];
}

/** A policy with its publisher, as it counts in this cluster. */
export interface PublishedPolicy {
  readonly policy: Policy;
  readonly publisher: ClusterName;
  /** Wall clock of the publisher in ms: grows with each version. */
  readonly revision: number;
  /** Wall clock of the publisher in ms at its first version: the older of two equals wins. */
  readonly createdAt: number;
}

/** `TrafficPolicy shop/web`, `FederationPolicy default`. */
function describeName({ kind, namespace, name }: PolicyName): string {
  return `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;
}

/** `TrafficPolicy shop/web of east`: how a policy is cited as the origin of something. */
export function describeOrigin({ policy, publisher }: PublishedPolicy): string {
  return `${describeName(policy.name)} of ${publisher}`;
}

/** Equal for the versions of one policy. */
export function policyId({ policy, publisher }: PublishedPolicy): string {
  return `${publisher}/${policyKey(policy.name)}`;
}

/** `TrafficPolicy/shop/web`; `-` stands for no namespace. */
export function policyKey({ kind, namespace, name }: PolicyName): string {
  return `${kind}/${namespace ?? '-'}/${name}`;
}

/** What `policyKey` writes. @throws IsthmusError `invalid` */
export function parsePolicyKey(text: string): PolicyName {
  const [kindText = '', namespace = '', name = '', ...more] = text.split('/');
  const kind = policyKinds.find((each) => each === kindText);
  if (!kind || more.length > 0 || (kind === 'FederationPolicy') !== (namespace === '-')) {
    throw new IsthmusError(
      'invalid',
      `A policy must be named TrafficPolicy/<namespace>/<name>, AccessPolicy/<namespace>/<name> or FederationPolicy/-/<name>: current value is '${text.slice(0, 200)}'`,
    );
  }
  // The names follow the rules of a service's.
  parseServiceKey(`${namespace === '-' ? 'x' : namespace}/${name}`);
  return { kind, namespace: namespace === '-' ? undefined : namespace, name };
}

/** The record under which a cluster publishes a policy. */
export function recordOf({ name, spec }: Policy, revision: number, createdAt: number): PolicyRecord {
  return {
    kind: 'policy',
    type: name.kind,
    ...(name.namespace !== undefined && { namespace: name.namespace }),
    name: name.name,
    spec,
    issuedAt: revision,
    createdAt,
  };
}

/** The document that a record stands for, as `parsePolicy` reads it. */
export function documentOf({ type, namespace, name, spec }: PolicyRecord): unknown {
  return {
    apiVersion,
    kind: type,
    metadata: { name, ...(namespace !== undefined && { namespace }) },
    spec,
  };
}
