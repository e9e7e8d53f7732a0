import type { ClusterName } from '../model/names.ts';
import type { ClusterView } from '../model/view.ts';
import type { ClusterMatch, TierSpec, TrafficFields } from './fields.ts';

/** Where a policy puts a cluster, for one caller's cluster. */
export type Seat =
  | {
      readonly kind: 'in';
      /** 0 is preferred. */
      readonly tier: number;
      /** Its part of the tier; undefined: by capacity. */
      readonly weight: number | undefined;
      /** `own cluster`, `region same`. */
      readonly why: string;
    }
  | { readonly kind: 'out'; readonly reason: string };

type LocalityFields = Pick<
  TrafficFields,
  'locality.preferLocal' | 'locality.tiers' | 'locality.fallback' | 'placement.require'
>;

type Clusters = ReadonlyMap<ClusterName, Pick<ClusterView, 'labels'>>;

/** A cluster's region, as the authority admitted it. */
function regionOf(labels: Readonly<Record<string, string>>): string | undefined {
  return labels['topology.kubernetes.io/region'] ?? labels['region'];
}

/** The seat of every cluster. Placement comes before all else: nothing lifts it. */
export function seatsOf(fields: LocalityFields, self: ClusterName, clusters: Clusters): ReadonlyMap<ClusterName, Seat> {
  const seats = new Map<ClusterName, Seat>();
  for (const [name, { labels }] of clusters) seats.set(name, seatOf(name, labels, { fields, self, clusters }));
  return seats;
}

interface SeatContext {
  readonly fields: LocalityFields;
  readonly self: ClusterName;
  readonly clusters: Clusters;
}

function seatOf(name: ClusterName, labels: Readonly<Record<string, string>>, context: SeatContext): Seat {
  const { fields, self } = context;
  const missing = missingLabel(labels, fields['placement.require']);
  if (missing !== undefined) return { kind: 'out', reason: `placement requires ${missing}` };
  const preferLocal = fields['locality.preferLocal'];
  if (preferLocal && name === self) return { kind: 'in', tier: 0, weight: undefined, why: 'own cluster' };
  const first = preferLocal ? 1 : 0;
  const tiers = fields['locality.tiers'];
  for (const [index, tier] of tiers.entries()) {
    if (!matches(tier, name, { labels, context })) continue;
    return { kind: 'in', tier: first + index, weight: tier.weights?.get(name), why: describeMatch(tier.match) };
  }
  if (fields['locality.fallback'] === 'none') return { kind: 'out', reason: 'no tier names it, and fallback is none' };
  return {
    kind: 'in',
    tier: first + tiers.length,
    weight: undefined,
    why: tiers.length === 0 ? 'any cluster' : 'fallback',
  };
}

/** `compliance=pci`: the first label that is not as required. */
function missingLabel(
  labels: Readonly<Record<string, string>>,
  required: Readonly<Record<string, string>>,
): string | undefined {
  const missing = Object.entries(required).find(([key, value]) => labels[key] !== value);
  return missing && `${missing[0]}=${missing[1]}`;
}

interface MatchContext {
  readonly labels: Readonly<Record<string, string>>;
  readonly context: SeatContext;
}

/** A tier with weights is made of those that have one. */
function matches({ match, weights }: TierSpec, name: ClusterName, { labels, context }: MatchContext): boolean {
  const { region, clusters, labels: required } = match;
  if (clusters && !clusters.includes(name)) return false;
  if (required && missingLabel(labels, required) !== undefined) return false;
  if (weights && !weights.has(name)) return false;
  if (region === undefined) return true;
  const wanted = region === 'same' ? regionOf(context.clusters.get(context.self)?.labels ?? {}) : region;
  return wanted !== undefined && regionOf(labels) === wanted;
}

function describeMatch({ region, clusters, labels }: ClusterMatch): string {
  const parts = [
    ...(region === undefined ? [] : [region === 'same' ? 'same region' : `region ${region}`]),
    ...(clusters ? [`clusters ${clusters.join(', ')}`] : []),
    ...(labels
      ? [
          Object.entries(labels)
            .map(([key, value]) => `${key}=${value}`)
            .join(', '),
        ]
      : []),
  ];
  return parts.join(' with ');
}
