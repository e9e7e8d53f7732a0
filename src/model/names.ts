import { IsthmusError } from './error.ts';

declare const brand: unique symbol;
/** A string that only a parser of this folder makes. */
export type Brand<Name extends string> = string & { readonly [brand]: Name };

/** RFC 1123 label: the name of one cluster, unique in the federation (KEP-1645, "cluster name"). */
export type ClusterName = Brand<'ClusterName'>;
/** `<namespace>/<name>`: by namespace sameness (KEP-1645) one service, wherever it runs. */
export type ServiceKey = Brand<'ServiceKey'>;
/** The name of one replica of a role inside its cluster: an RFC 1123 label. */
export type ReplicaName = Brand<'ReplicaName'>;

/** RFC 1123: 1 to 63 of a–z, 0–9 and `-`, not at either end. */
const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

function requireLabel(what: string, text: string): string {
  if (label.test(text)) return text;
  throw new IsthmusError(
    'invalid',
    `${what} must be 1 to 63 of a-z, 0-9 and '-', not at either end: current value is '${text.slice(0, 80)}'`,
  );
}

/** @throws IsthmusError `invalid` */
export function parseClusterName(text: string): ClusterName {
  requireLabel('A cluster name', text);
  // The authority's partition of the hub and its trust domain bear this name.
  if (text === 'authority') {
    throw new IsthmusError('invalid', `A cluster name must not be 'authority': the name is the authority's own`);
  }
  return text as ClusterName;
}

/** @throws IsthmusError `invalid` */
export function parseReplicaName(text: string): ReplicaName {
  return requireLabel('A replica name', text) as ReplicaName;
}

/** Parses `<namespace>/<name>`. @throws IsthmusError `invalid` */
export function parseServiceKey(text: string): ServiceKey {
  const slash = text.indexOf('/');
  if (slash < 0) {
    throw new IsthmusError('invalid', `A service must be <namespace>/<name>: current value is '${text.slice(0, 130)}'`);
  }
  requireLabel('The namespace of a service', text.slice(0, slash));
  requireLabel('The name of a service', text.slice(slash + 1));
  return text as ServiceKey;
}

export function namespaceOf(service: ServiceKey): string {
  return service.slice(0, service.indexOf('/'));
}

export function nameOf(service: ServiceKey): string {
  return service.slice(service.indexOf('/') + 1);
}

/** A TCP port that can be dialled: 1 to 65535. */
export function isPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535;
}
