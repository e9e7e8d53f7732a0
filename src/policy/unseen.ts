import type { ServiceKey } from '../model/names.ts';
import { carriesRequests, declaredProtocol } from '../model/protocol.ts';
import type { ServicePort } from '../model/record.ts';
import type { MeshView } from '../model/view.ts';
import type { TrafficField, TrafficFields } from './fields.ts';
import { describeOrigin, type PublishedPolicy } from './policy.ts';

/** A service with the ports on which requests cannot be told apart, and those on which they can. */
interface Sight {
  readonly key: ServiceKey;
  readonly blind: readonly number[];
  readonly seen: readonly number[];
}

/** Policies that state so much of what is not there are named so far. */
const maxNamed = 3;

/**
 * What a policy says about requests of services whose ports do not say that they speak HTTP, one sentence each: there,
 * a rule by method or path denies everything or allows nothing, and `http` changes nothing. `keys`: only of these.
 */
export function unseenRequests(
  { policy: { body, name } }: PublishedPolicy,
  view: MeshView,
  keys?: readonly ServiceKey[],
): readonly string[] {
  const wanted = body.kind === 'AccessPolicy' ? body.services : body.service && new Set([body.service]);
  const sights: Sight[] = [];
  for (const key of keys ?? wanted ?? view.services.keys()) {
    const service = view.services.get(key);
    if (!service || (wanted && !wanted.has(key))) continue;
    if (name.namespace !== undefined && !key.startsWith(`${name.namespace}/`)) continue;
    sights.push(sightOf(key, service.ports));
  }
  return body.kind === 'AccessPolicy' ? blindRules(body, sights) : idleFields(body.fields, sights);
}

function sightOf(key: ServiceKey, ports: readonly ServicePort[]): Sight {
  const seen = ports.filter((port) => carriesRequests(declaredProtocol(port))).map(({ port }) => port);
  return { key, seen, blind: ports.map(({ port }) => port).filter((port) => !seen.includes(port)) };
}

function blindRules(
  { requests, ports, action, audit }: Extract<PublishedPolicy['policy']['body'], { kind: 'AccessPolicy' }>,
  sights: readonly Sight[],
): readonly string[] {
  if (!requests) return [];
  const blind = sights.flatMap(({ key, blind: numbers }) =>
    numbers.filter((port) => !ports || ports.includes(port)).map((port) => `${key}:${port}`),
  );
  if (blind.length === 0) return [];
  const would = audit ? 'would, in force, ' : '';
  const effect = `it ${would}${action === 'allow' ? `${audit ? 'allow' : 'allows'} nothing` : `${audit ? 'deny' : 'denies'} every connection`} there`;
  return [`methods and paths cannot be seen on ${named(blind)}, where nothing says that HTTP is spoken: ${effect}`];
}

function idleFields(fields: Partial<TrafficFields>, sights: readonly Sight[]): readonly string[] {
  const stated = Object.keys(fields) as TrafficField[];
  const hash = fields['loadBalancing.hash'];
  const idle = stated.filter((field) => field.startsWith('http.'));
  if (hash && hash.by !== 'sourceIP') idle.push('loadBalancing.hash');
  if (idle.length === 0 || sights.length === 0 || sights.some(({ seen }) => seen.length > 0)) return [];
  const services = named(sights.map(({ key }) => key));
  return [`${idle.join(', ')} has no effect: no port of ${services} says that it speaks HTTP`];
}

function named(names: readonly string[]): string {
  const shown = names.slice(0, maxNamed).join(', ');
  return names.length > maxNamed ? `${shown} and ${names.length - maxNamed} more` : shown;
}

/** The same of several policies, each sentence with its policy in front. */
export function unseenWarnings(
  policies: readonly PublishedPolicy[],
  view: MeshView,
  keys?: readonly ServiceKey[],
): readonly string[] {
  return policies.flatMap((each) => unseenRequests(each, view, keys).map((note) => `${describeOrigin(each)}: ${note}`));
}
