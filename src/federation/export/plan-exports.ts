import type { LocalService, LocalServices } from '../../model/ports/service-source.ts';
import {
  type ClusterRecord,
  type EndpointCounts,
  type ExportRecord,
  exportKey,
  type RecordKey,
} from '../../model/record.ts';
import type { LocalEndpoint } from '../../model/route.ts';

/**
 * The export records of a cluster's own services. `previous`: its records as last published, from which an export takes
 * the time of its first publication, so that a restart does not make it the youngest. `now`: wall clock in ms. A
 * service that is the same object as in an earlier call gives the same record object.
 */
export function planExports(
  local: LocalServices,
  previous: ReadonlyMap<RecordKey, ClusterRecord>,
  now: number,
): ReadonlyMap<RecordKey, ClusterRecord> {
  const planned = new Map<RecordKey, ClusterRecord>();
  for (const service of local.services.values()) {
    if (!service.exported) continue;
    const key = exportKey(service.key);
    const before = previous.get(key);
    planned.set(key, sharedExport(service, before?.kind === 'export' ? before.createdAt : now));
  }
  return planned;
}

/** Only a memory: unchanged services need not be encoded again to be found unchanged. */
const records = new WeakMap<LocalService, ExportRecord>();

function sharedExport(service: LocalService, createdAt: number): ExportRecord {
  const known = records.get(service);
  if (known?.createdAt === createdAt) return known;
  const record = exportOf(service, createdAt);
  records.set(service, record);
  return record;
}

function exportOf(service: LocalService, createdAt: number): ExportRecord {
  const { key, ports, allow, endpoints, capacity, labels, annotations, passthrough } = service;
  const zones = zonesOf(endpoints);
  return {
    kind: 'export',
    service: key,
    type: 'ClusterSetIP',
    ports: ports.toSorted((a, b) => a.port - b.port),
    allow,
    endpoints: countsOf(endpoints),
    createdAt,
    ...(zones && { zones }),
    ...(capacity && { capacity }),
    ...(passthrough && { passthrough }),
    ...(labels && Object.keys(labels).length > 0 && { labels }),
    ...(annotations && Object.keys(annotations).length > 0 && { annotations }),
  };
}

function countsOf(endpoints: readonly LocalEndpoint[]): EndpointCounts {
  return { total: endpoints.length, ready: endpoints.filter((endpoint) => endpoint.ready).length };
}

/** Undefined: no endpoint says where it runs. */
function zonesOf(endpoints: readonly LocalEndpoint[]): Readonly<Record<string, EndpointCounts>> | undefined {
  const byZone = Map.groupBy(endpoints, ({ zone }) => zone ?? '');
  byZone.delete('');
  if (byZone.size === 0) return undefined;
  return Object.fromEntries([...byZone].map(([zone, those]) => [zone, countsOf(those)]));
}
