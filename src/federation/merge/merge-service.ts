import type { ClusterName, ServiceKey } from '../../model/names.ts';
import type { ExportRecord, ServicePort } from '../../model/record.ts';
import type { Conflict, ServiceView } from '../../model/view.ts';

/** One exporter of a service. */
export type Exporter = readonly [cluster: ClusterName, record: ExportRecord];

/**
 * Merges all exports of one service by KEP-1645: the oldest export wins, ties go to the cluster name first in order;
 * ports are united. The order in which exporters are given plays no part.
 * `exporters` must not be empty.
 */
export function mergeService(key: ServiceKey, exporters: readonly Exporter[]): ServiceView {
  const byAge = exporters.toSorted(([a, x], [b, y]) => x.createdAt - y.createdAt || (a < b ? -1 : 1));
  const [oldest] = byAge;
  const conflicts = [portConflict(byAge), typeConflict(byAge)].filter((conflict) => conflict !== undefined);
  return {
    key,
    type: oldest?.[1].type ?? 'ClusterSetIP',
    ports: unitePorts(byAge),
    exports: new Map(byAge),
    conflicts,
  };
}

/** Union by name first, then by number; what the oldest export says of a port stands. */
function unitePorts(byAge: readonly Exporter[]): readonly ServicePort[] {
  const union: ServicePort[] = [];
  for (const [, record] of byAge) {
    for (const port of record.ports) {
      const taken = union.some((other) => other.port === port.port || (port.name && other.name === port.name));
      if (!taken) union.push(port);
    }
  }
  return union.toSorted((a, b) => a.port - b.port);
}

/** `80/TCP`, with name and application protocol where given. */
function describePort(port: ServicePort): string {
  const name = port.name ? `${port.name} ` : '';
  const appProtocol = port.appProtocol ? ` ${port.appProtocol}` : '';
  return `${name}${port.port}/${port.protocol}${appProtocol}`;
}

function describePorts(record: ExportRecord): string {
  return record.ports
    .map(describePort)
    .toSorted((a, b) => (a < b ? -1 : 1))
    .join(', ');
}

function portConflict(byAge: readonly Exporter[]): Conflict | undefined {
  return conflictOf(byAge, describePorts, (value) => ({
    field: 'ports',
    reason: 'PortConflict',
    text: `Conflicting ports. Using the union, where in doubt "${value}"`,
  }));
}

function typeConflict(byAge: readonly Exporter[]): Conflict | undefined {
  return conflictOf(
    byAge,
    (record) => record.type,
    (value) => ({ field: 'type', reason: 'TypeConflict', text: `Conflicting type. Using "${value}"` }),
  );
}

type Wording = Pick<Conflict, 'field' | 'reason'> & { readonly text: string };

function conflictOf(
  byAge: readonly Exporter[],
  valueOf: (record: ExportRecord) => string,
  word: (value: string) => Wording,
): Conflict | undefined {
  const [oldest] = byAge;
  if (!oldest) return undefined;
  const [winner, record] = oldest;
  const value = valueOf(record);
  const losers = byAge.filter(([, other]) => valueOf(other) !== value).map(([cluster]) => cluster);
  if (losers.length === 0) return undefined;
  const { field, reason, text } = word(value);
  const message = `${text} from oldest service export in "${winner}". ${losers.length}/${byAge.length} clusters disagree.`;
  return { field, reason, winner, losers, message };
}
