import type { PartitionView } from '../../federation/partition-view.ts';
import { changeOf } from '../../federation/merge/view-change.ts';
import type { ServiceKey } from '../../model/names.ts';
import type { LocalService, LocalServices } from '../../model/ports/service-source.ts';
import type { ImportRecord } from '../../model/record.ts';
import type { MeshView } from '../../model/view.ts';
import { importKey, wantedPorts } from '../../policy/compile.ts';
import { SortedMap } from '../../runtime/sorted-map.ts';

/** What imports are decided from. */
export interface ImportFacts {
  readonly view: MeshView;
  readonly local: LocalServices;
}

/**
 * Which import keys are wanted now and were not under `before`, and the other way round. `before` undefined: nothing is
 * known, so `held` keys that nobody wants are told too. Costs what changed.
 */
export function importWishes(
  before: ImportFacts | undefined,
  now: ImportFacts,
  held: Iterable<string>,
): ReadonlyMap<string, boolean> {
  const wishes = new Map<string, boolean>();
  if (!before) for (const key of held) wishes.set(key, false);
  const keys = new Set<ServiceKey>();
  for (const { key } of changeOf(before?.view, now.view).services) keys.add(key);
  const local = SortedMap.from(now.local.services);
  for (const { key } of local.differences(SortedMap.from<ServiceKey, LocalService>(before?.local.services ?? []))) {
    keys.add(key);
  }
  for (const key of keys) {
    const was = before ? wantedPorts(before.view.services.get(key), before.local.services.get(key)) : [];
    const is = wantedPorts(now.view.services.get(key), now.local.services.get(key));
    for (const port of was) if (!is.includes(port)) wishes.set(importKey(key, port), false);
    for (const port of is) if (!was.includes(port)) wishes.set(importKey(key, port), true);
  }
  return wishes;
}

/** Import keys and ports as the leading replica published them. */
export function publishedPorts(own: PartitionView): readonly (readonly [string, number])[] {
  return [...own.records.values()].flatMap((record) =>
    record.kind === 'import'
      ? Object.entries(record.ports).map(([port, at]) => [importKey(record.service, Number(port)), at] as const)
      : [],
  );
}

/** The same ports as records, one for each service. */
export function importRecords(ports: ReadonlyMap<string, number>): readonly ImportRecord[] {
  const byService = new Map<ServiceKey, Record<number, number>>();
  for (const [key, at] of ports) {
    const colon = key.lastIndexOf(':');
    const service = key.slice(0, colon) as ServiceKey;
    const known = byService.get(service) ?? {};
    known[Number(key.slice(colon + 1))] = at;
    byService.set(service, known);
  }
  return [...byService].map(([service, each]) => ({ kind: 'import', service, ports: each }));
}
