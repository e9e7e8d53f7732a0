import type { AccessPlan } from '../model/access.ts';
import type { ClusterName, ServiceKey } from '../model/names.ts';
import type { CompileInput } from './compile-input.ts';
import { baseFields } from './defaults.ts';
import { noDrains } from './drain.ts';
import type { TrafficField, TrafficFields } from './fields.ts';
import type { PublishedPolicy } from './policy.ts';
import { type OverriddenField, PolicySet, type StatedPolicy } from './policy-set.ts';
import { seatsOf } from './seats.ts';
import { type Candidate, candidatesOf } from './targets.ts';

/** What holds for one service in one cluster, and where each part of it comes from. */
export interface EffectivePolicy {
  readonly fields: TrafficFields;
  /** Fields without an entry are as the cluster's configuration or the built-in default says. */
  readonly origins: ReadonlyMap<TrafficField, PublishedPolicy>;
  readonly overridden: readonly OverriddenField[];
  /** As this cluster applies it to what it exports; undefined: the export alone decides. */
  readonly access: AccessPlan | undefined;
}

/** The effective policy of a service, whether or not anybody exports it. */
export function effectivePolicy(key: ServiceKey, input: CompileInput): EffectivePolicy {
  const { policies = PolicySet.empty } = input;
  const stated: StatedPolicy = policies.stated(key);
  return {
    fields: { ...baseFields(input), ...stated.fields },
    origins: stated.origins,
    overridden: stated.overridden,
    access: policies.access(key, input.local.services.get(key)?.allow ?? 'members'),
  };
}

/** Every exporter of a service with its seat, those included that policies keep out. For explaining a route. */
function candidatesFor(key: ServiceKey, input: CompileInput): readonly Candidate[] {
  const { view } = input;
  return candidatesOf({
    view,
    seen: view.services.get(key),
    own: input.local.services.get(key),
    seats: seatsOf(effectivePolicy(key, input).fields, view.self, view.clusters),
    drains: input.drains ?? noDrains,
  });
}

/** Clusters that serve a service and that policies keep traffic away from, with the reason. */
export function keptOut(key: ServiceKey, input: CompileInput): ReadonlyMap<ClusterName, string> {
  return new Map(
    candidatesFor(key, input).flatMap(({ seat, target }) =>
      seat.kind === 'out' ? [[target.cluster, seat.reason] as const] : [],
    ),
  );
}

/** Services for which a policy moves traffic by load, and some exporter does not say what it is rated for. */
export function unratedSpills(input: CompileInput): readonly ServiceKey[] {
  const { policies = PolicySet.empty, view } = input;
  const found: ServiceKey[] = [];
  for (const [key, { exports }] of view.services) {
    if (policies.stated(key).fields['failover.spillAt'] === undefined) continue;
    for (const record of exports.values()) {
      if (record.capacity?.concurrent !== undefined) continue;
      found.push(key);
      break;
    }
  }
  return found;
}
