import type { ClusterName } from '../../model/names.ts';
import type { ExportRecord, ServicePort } from '../../model/record.ts';
import type { Conflict, ConflictReason } from '../../model/view.ts';
import { canonicalJson } from '../../wire/canonical-json.ts';

/** One exporter of a service. */
export type Exporter = readonly [cluster: ClusterName, record: ExportRecord];

/** Longer values are cut in conflicts: they are for people, and come from strangers. */
const maxValueChars = 200;
/** Of one service; the first ones tell the story. */
const maxConflicts = 50;

/** What one exporter says of one field; undefined: it says nothing, and so does not disagree. */
type ValueOf = (record: ExportRecord) => string | undefined;

interface Field {
  readonly field: string;
  readonly reason: ConflictReason;
  readonly valueOf: ValueOf;
  /** What is used, up to "oldest service export". Default: `"<value of the winner>" from`. */
  readonly using?: string;
}

/** 3 hours (Kubernetes, `clientIP.timeoutSeconds`). */
const defaultAffinityS = 10_800;

/** Properties that the oldest export decides for all (KEP-1645, "Constraints and Conflict Resolution"). */
const properties: readonly Field[] = [
  { field: 'type', reason: 'TypeConflict', valueOf: (record) => record.type },
  {
    field: 'sessionAffinity',
    reason: 'SessionAffinityConflict',
    valueOf: (record) => record.sessionAffinity ?? 'None',
  },
  {
    field: 'sessionAffinityConfig',
    reason: 'SessionAffinityConfigConflict',
    valueOf: (record) =>
      record.sessionAffinity === 'ClientIP' ? `${record.sessionAffinityTimeoutS ?? defaultAffinityS}s` : undefined,
  },
  { field: 'labels', reason: 'LabelsConflict', valueOf: (record) => canonicalJson(record.labels ?? {}) },
  { field: 'annotations', reason: 'AnnotationsConflict', valueOf: (record) => canonicalJson(record.annotations ?? {}) },
  {
    field: 'internalTrafficPolicy',
    reason: 'InternalTrafficPolicyConflict',
    valueOf: (record) => record.internalTrafficPolicy ?? 'Cluster',
  },
  {
    field: 'trafficDistribution',
    reason: 'TrafficDistributionConflict',
    valueOf: (record) => record.trafficDistribution ?? '',
  },
];

/** A family that only some of the backends have reaches only those, so that none but the common ones are used. */
function familyField(common: readonly string[] | undefined): Field {
  return {
    field: 'ipFamilies',
    reason: 'IPFamilyConflict',
    valueOf: (record) => record.ipFamilies?.toSorted().join(', '),
    using: `the common "${common?.join(', ') ?? ''}", in the order of`,
  };
}

/** Families that every exporter which names any has, in the order of the oldest; undefined: nobody names any. */
export function commonFamilies(byAge: readonly Exporter[]): ExportRecord['ipFamilies'] {
  const named = byAge.flatMap(([, { ipFamilies }]) => (ipFamilies ? [ipFamilies] : []));
  return named[0]?.filter((family) => named.every((families) => families.includes(family)));
}

const none: readonly Conflict[] = [];

/** Everything on which exporters, oldest first, disagree; at most 50. */
export function conflictsOf(byAge: readonly Exporter[], union: readonly ServicePort[]): readonly Conflict[] {
  if (byAge.length < 2) return none;
  const found: Conflict[] = [];
  for (const field of [...portFields(byAge, union), ...properties, familyField(commonFamilies(byAge))]) {
    const conflict = found.length < maxConflicts ? conflictOn(field, byAge) : undefined;
    if (conflict) found.push(conflict);
  }
  return found;
}

function conflictOn({ field, reason, valueOf, using }: Field, byAge: readonly Exporter[]): Conflict | undefined {
  const said = byAge.flatMap(([cluster, record]) => {
    const value = valueOf(record);
    return value === undefined ? [] : [[cluster, value] as const];
  });
  const [first] = said;
  if (!first || said.every(([, value]) => value === first[1])) return undefined;
  const [winner, value] = first;
  const losers = said.filter(([, other]) => other !== value).map(([cluster]) => cluster);
  const oldest = winner === byAge[0]?.[0] ? 'oldest service export' : 'the oldest service export that has it,';
  return {
    field,
    reason,
    winner,
    losers,
    values: new Map(said.map(([cluster, text]) => [cluster, shortened(text)])),
    message: `Conflicting ${field}. Using ${using ?? `"${shortened(value)}" from`} ${oldest} in "${winner}". ${losers.length}/${byAge.length} clusters disagree.`,
  };
}

/**
 * The set as a whole, then what is said of each port: ports are one by name first, then by protocol and number, so that
 * both may be disputed. Nothing where all exporters have the very same list.
 */
function portFields(byAge: readonly Exporter[], union: readonly ServicePort[]): readonly Field[] {
  const [oldest] = byAge;
  if (!oldest || byAge.every(([, record]) => describePorts(record.ports) === describePorts(oldest[1].ports))) return [];
  const fields: Field[] = [
    {
      field: 'ports',
      reason: 'PortConflict',
      valueOf: (record) => describePorts(record.ports),
      using: `the union "${shortened(describePorts(union))}", in doubt that of`,
    },
  ];
  const says = (of: (port: ServicePort) => boolean, value: (port: ServicePort) => string): ValueOf => {
    return (record) => {
      const port = record.ports.find(of);
      return port && value(port);
    };
  };
  for (const { port, protocol } of distinct(byAge, numberOf)) {
    const same = (other: ServicePort): boolean => other.port === port && other.protocol === protocol;
    const at = `ports[${port}/${protocol}]`;
    fields.push({ field: `${at}.name`, reason: 'PortConflict', valueOf: says(same, ({ name }) => name ?? '') });
    fields.push({
      field: `${at}.appProtocol`,
      reason: 'PortConflict',
      valueOf: says(same, ({ appProtocol }) => appProtocol ?? ''),
    });
  }
  for (const { name } of distinct(byAge, (port) => port.name)) {
    fields.push({
      field: `ports[${name}]`,
      reason: 'PortConflict',
      valueOf: says((other) => other.name === name, numberOf),
    });
  }
  return fields;
}

/** The first port, oldest export first, for each value that occurs. */
function distinct(byAge: readonly Exporter[], valueOf: (port: ServicePort) => string | undefined): ServicePort[] {
  const found = new Map<string, ServicePort>();
  for (const [, { ports }] of byAge) {
    for (const port of ports) {
      const value = valueOf(port);
      if (value !== undefined && value !== '' && !found.has(value)) found.set(value, port);
    }
  }
  return [...found.values()];
}

/** `80/TCP` */
function numberOf({ port, protocol }: ServicePort): string {
  return `${port}/${protocol}`;
}

/** `http 80/TCP grpc`: name and application protocol where given. */
function describePort(port: ServicePort): string {
  return [port.name, numberOf(port), port.appProtocol].filter(Boolean).join(' ');
}

function describePorts(ports: readonly ServicePort[]): string {
  return ports
    .map(describePort)
    .toSorted((a, b) => (a < b ? -1 : 1))
    .join(', ');
}

function shortened(text: string): string {
  return text.length > maxValueChars ? `${text.slice(0, maxValueChars)}…` : text;
}
